"""The contents of a comparison's report: the comparison and its summary as a page, and its table for the terminal."""

import shlex
from collections.abc import Mapping

import numpy as np

from torchmoments_lab.report import conclusion, provenance, wording
from torchmoments_lab.report.curves import curves
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.figures import Dots, seed_dots
from torchmoments_lab.report.page import Block, Page, Picture, Section, Table, Text
from torchmoments_lab.report.reading import CURVES, Comparison, RunRecord, errors_of
from torchmoments_lab.report.summarize import FEW_IMAGES
from torchmoments_lab.report.summary import Paired, Summary
from torchmoments_lab.statistics import seed_differences

_CURVES = {"loss": "training loss", "accuracy": "training accuracy, %"}


def page(comparison: Comparison, summary: Summary) -> Page:
    """The whole report."""
    notes = conclusion.notes(summary, was_extended=len(comparison.history) > 1)
    outcomes = [entry.difference.outcome for entry in summary.paired.values()]
    sections = [
        _results(summary),
        _seed_by_seed(comparison, summary),
        _labels(summary),
        _intervals(summary),
        _curves(comparison),
        _cost(summary),
        _not_complete(summary),
        provenance.of_comparison(comparison),
    ]
    others = list(summary.paired)
    listed = ", ".join(others) if len(others) <= 3 else f"{len(others)} methods"
    against = f"{listed} against {summary.reference}" if others else summary.reference
    return Page(
        title=f"{summary.settings.get('data', 'comparison')}: {against}",
        conclusion=wording.typeset(conclusion.headline(summary)),
        outcome=next((kind for kind in ("gain", "harm") if kind in outcomes), "none"),
        facts=provenance.facts(summary, [method.error.n for method in summary.methods.values()]),
        notes=[Text(wording.typeset(note), note=True) for note in notes],
        sections=[section for section in sections if section.blocks],
        end=f"Made from the run folders alone. Again: torchmoments report {shlex.quote(comparison.name)}",
    )


def results(summary: Summary) -> Table:
    """Error, difference, p and outcome of each method."""
    several = len(summary.paired) > 1
    headings = ["Method", f"{summary.split.capitalize()} {summary.metric_name}, %"]
    if summary.paired:
        headings.append(f"Minus {summary.reference}, points")
        headings += ["p (Holm-adjusted)" if several else "p", "Difference shown"]
    rows = []
    for name, method in summary.methods.items():
        row = [name, wording.with_interval(method.error)]
        if name in summary.paired:
            row += _compared(summary.paired[name], several)
        elif summary.paired:
            row += ["reference", "", ""]
        rows.append([*row, str(method.error.n)])
    return Table("Mean over seeds and, in brackets, its 95% interval", [*headings, "Seeds"], rows)


def compact(summary: Summary) -> Table:
    """The same for a terminal, with both p and the seconds."""
    rows = []
    for name, method in summary.methods.items():
        compared = ["", "", ""]
        if name in summary.paired:
            difference = summary.paired[name].difference
            compared = [
                wording.plus_minus(difference, "+"),
                *map(wording.p_value, (difference.p_value, difference.p_holm)),
            ]
        seconds = "-" if method.seconds_mean is None else f"{method.seconds_mean:.1f}"
        rows.append([name, wording.plus_minus(method.error), *compared, str(method.error.n), seconds])
    headings = ["method", f"{summary.metric_name} %", f"minus {summary.reference}", "p", "p Holm", "n", "s/run"]
    return Table("± is the 95% CI over seeds. s/run is rough: runs share the machine.", headings, rows)


def _results(summary: Summary) -> Section:
    blocks: list[Block] = [results(summary)]
    if summary.metric == "auroc":
        blocks.append(Text("The AUROC error is 100 times (1 - AUROC): lower is better."))
    if summary.paired:
        several = len(summary.paired) > 1
        adjusted = ", and Holm's adjustment makes up for comparing several methods." if several else "."
        blocks.append(
            Text(
                "Runs of one seed share training images, initial weights and the order of the batches, so differences "
                f"are taken seed by seed; below 0 the method is better. p is that of the paired t-test{adjusted} "
                f"A difference counts as shown if {'the adjusted p' if several else 'p'} is below 0.05."
            )
        )
    return Section("Results", blocks)


def _compared(entry: Paired, several: bool) -> list[str]:
    difference = entry.difference
    words = {"not shown": "no", "unknown": "no interval" if difference.n else "no paired runs"}
    adjusted = f" ({wording.p_value(difference.p_holm)})" if several and difference.p_holm is not None else ""
    return [
        wording.with_interval(difference, "+"),
        wording.p_value(difference.p_value) + adjusted,
        words.get(difference.outcome, difference.outcome),
    ]


def _seed_by_seed(comparison: Comparison, summary: Summary) -> Section:
    if not any(entry.difference.n for entry in summary.paired.values()):
        return Section("Seed by seed", [])
    errors = {name: errors_of(runs) for name, runs in comparison.runs.items()}
    rows = [
        Dots(name, seed_differences(errors[name], errors[summary.reference]), entry.difference)
        for name, entry in summary.paired.items()
    ]
    label = f"{summary.metric_name} minus that of {summary.reference}, percentage points"
    described = [
        f"{row.name} is better in {sum(d < 0 for d in row.differences.values())} of "
        f"{wording.seeds(len(row.differences))}, its mean is {wording.with_interval(row.mean, '+')}"
        for row in rows
    ]
    description = f"Difference from {summary.reference}, points: {'; '.join(described)}."
    explained = Text("Each dot is one seed. The diamond below is the mean, the bar its 95% interval.")
    drawing = draw("differences", lambda: seed_dots(rows, label))
    return Section("Seed by seed", [Picture("differences", description, drawing), explained])


def _labels(summary: Summary) -> Section:
    blocks: list[Block] = []
    if summary.beyond_labels:
        headings = ["Method", "Its labels alone", "Their share of the gain", "Method minus labels, points"]
        rows = [
            [
                name,
                beyond.labels,
                conclusion.share_of_labels(beyond, summary.paired[name].difference) or "no gain shown",
                wording.with_interval(beyond.difference, "+"),
            ]
            for name, beyond in summary.beyond_labels.items()
        ]
        blocks.append(Table("Labels mixed in the same way, features untouched", headings, rows))
    without = [m for m in summary.paired if m.partition(":")[0] == "moex" and m not in summary.beyond_labels]
    if without:
        blocks.append(
            Text(
                f"MoEx mixes features and labels. For {conclusion.listed(without, 'and')} the labels alone are not "
                f"here: that is the same spec with labels instead of moex, as in "
                f"{without[0].replace('moex', 'labels', 1)}."
            )
        )
    return Section("The labels alone", blocks)


def _intervals(summary: Summary) -> Section:
    blocks: list[Block] = [Text(sentence) for sentence in conclusion.coverage(summary)[:1]]
    wider = {name: entry.difference_ci95_with_images for name, entry in summary.paired.items()}
    if blocks and any(wider.values()):
        blocks.append(
            Text(
                f"With fewer than {FEW_IMAGES:,} test images, it also matters which images they happen to be. The "
                "second interval has them as a sample, too; it is the one to go by for other images of the same kind."
            )
        )
        rows = [
            [name, wording.interval(summary.paired[name].difference.ci95, "+"), wording.interval(ci95, "+")]
            for name, ci95 in wider.items()
        ]
        headings = ["Method", "On these images", "With other images too"]
        blocks.append(Table(f"95% interval of the difference from {summary.reference}, points", headings, rows))
    return Section("What the intervals cover", blocks)


def _curves(comparison: Comparison) -> Section:
    every = {name: _by_column(runs) for name, runs in comparison.runs.items()}
    methods = {name: columns for name, columns in every.items() if columns}
    titles = {name: title for name, title in _CURVES.items() if name in every[comparison.reference]}
    if not titles:
        return Section("Learning curves", [])
    ends = [
        f"{name} ends with " + " and ".join(f"{titles[k]} {columns[k][:, -1].mean():.3g}" for k in titles)
        for name, columns in methods.items()
        if titles.keys() <= columns.keys()
    ]
    several = any(len(values) > 1 for columns in methods.values() for values in columns.values())
    colors = f"Grey: {comparison.reference}. Blue: the method named above. " if len(methods) > 1 else ""
    band = "Mean over seeds; the band is its 95% interval, epoch by epoch." if several else "One seed."
    drawing = draw("curves", lambda: curves(methods, comparison.reference, titles))
    return Section(
        "Learning curves",
        [
            Picture("curves", f"Training by epoch: {'; '.join(ends)}.", drawing),
            Text(colors + band),
            Text(
                "This is training, in train mode: the test images are seen once, after the last epoch. If labels are "
                "mixed, loss and accuracy count both labels by their weights: a higher loss there is no worse fit."
            ),
        ],
    )


def _by_column(runs: Mapping[int, RunRecord]) -> dict[str, np.ndarray]:
    """{column: [seeds, epochs]}, without the columns that a run lacks."""
    epochs = [run.epochs for run in runs.values()]
    return {name: np.stack([e[name] for e in epochs]) for name in CURVES if epochs and all(name in e for e in epochs)}


def _cost(summary: Summary) -> Section:
    if summary.images is None:
        return Section("What it costs", [])
    rows = []
    for name, method in summary.methods.items():
        entry = summary.paired.get(name)
        ratio = "reference" if entry is None else wording.with_interval(entry.slowdown)
        rows.append([name, wording.seconds(method.seconds_mean), ratio])
    headings = ["Method", "Seconds a run", f"Times those of {summary.reference}"]
    caption = "Training time; ratios paired by seed, their geometric mean and 95% interval"
    rough = Text("Rough: runs that train side by side share the machine and slow each other down.")
    return Section("What it costs", [Table(caption, headings, rows), rough])


def _not_complete(summary: Summary) -> Section:
    reasons: dict[tuple[str, str], list[int]] = {}
    for run in summary.failed:
        reasons.setdefault((run.method, run.reason), []).append(run.seed)
    for name, missing in summary.missing.items():
        reasons[name, "not trained yet"] = list(missing)
    rows = [[name, wording.spans(numbers), reason] for (name, reason), numbers in reasons.items()]
    table = Table("They count nowhere; the same command tries them again", ["Method", "Seeds", "Why"], rows, False)
    return Section("Runs that are not complete", [table] if rows else [])
