"""The contents of a comparison's report: the comparison and its summary as a page, and its table for the terminal."""

from collections.abc import Mapping

import numpy as np

from torchmoments_lab.metrics import EXPLAINED
from torchmoments_lab.report import classes, conclusion, intervals, provenance, secondary, shown, wording
from torchmoments_lab.report.curves import curves
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.figures import Dots, seed_dots
from torchmoments_lab.report.page import Block, Page, Picture, Section, Table, Text
from torchmoments_lab.report.reading import CURVES
from torchmoments_lab.report.runs import Comparison, RunRecord, seed_differences
from torchmoments_lab.report.summary import Summary
from torchmoments_lab.statistics.values import LEAST_SEEDS, Difference

_CURVES = {"loss": "training loss", "accuracy": "training accuracy, %"}


def page(comparison: Comparison, summary: Summary) -> Page:
    """The whole report."""
    outcomes = [difference.outcome for difference in summary.differences.values()]
    sections = [
        _results(summary),
        _seed_by_seed(comparison, summary),
        secondary.section(summary),
        classes.section(comparison),
        shown.changes(comparison, summary),
        _labels(summary),
        intervals.section(summary),
        shown.inputs(comparison, summary),
        _curves(comparison),
        _cost(summary),
        _not_complete(summary),
        provenance.of_comparison(comparison),
    ]
    others = list(summary.paired)
    listed = ", ".join(others) if len(others) <= 3 else f"{len(others)} methods"
    against = f"{listed} against {summary.reference}" if others else summary.reference
    return Page(
        title=f"{wording.data_name(summary.settings.get('data', 'comparison'))}: {against}",
        conclusion=wording.typeset(conclusion.headline(summary)),
        outcome=next((kind for kind in ("gain", "harm") if kind in outcomes), "none"),
        facts=provenance.facts(summary, [error.n for error in summary.errors.values()]),
        notes=[Text(wording.typeset(note), note=True) for note in conclusion.notes(summary)],
        sections=[section for section in sections if section.blocks],
        end="Made from its folder alone. Again: torchmoments report, with that folder.",
    )


def results(summary: Summary) -> Table:
    """Error, difference, p and outcome of each method."""
    several = len(summary.paired) > 1
    headings = ["Method", f"{summary.split.capitalize()} {summary.metric_name}, {summary.unit}"]
    if summary.paired:
        headings.append(f"Minus {summary.reference}, points")
        headings += ["p, adjusted" if several else "p", "Difference shown"]
    rows = []
    for name, error in summary.errors.items():
        row = [name, wording.with_interval(error)]
        if name in summary.paired:
            row += _compared(summary.differences[name])
        elif summary.paired:
            row += ["reference", "", ""]
        rows.append([*row, str(error.n)])
    together = "; those of the differences hold together" if several else ""
    return Table(f"Mean and, in brackets, its 95% interval{together}", [*headings, "Seeds"], rows)


def compact(summary: Summary) -> Table:
    """The same for a terminal, with the seconds."""
    rows = []
    for name, method in summary.methods.items():
        error, difference = summary.errors[name], summary.differences.get(name)
        seconds = wording.NONE if method.seconds_mean is None else f"{method.seconds_mean:.1f}"
        rows.append([name, wording.plus_minus(error), *wording.compared(difference), str(error.n), seconds])
    headings = ["method", f"{summary.metric_name} {summary.unit}", f"minus {summary.reference}", "p", "n", "~s/run"]
    together = "; of differences, with p, for all together" if len(summary.paired) > 1 else ""
    return Table(f"± is the 95% CI{together}.", headings, rows, spare=("~s/run", "n", "p"))


def _results(summary: Summary) -> Section:
    blocks: list[Block] = [results(summary)]
    if summary.chance is not None:
        blocks.append(
            Text(f"The {summary.metric_name} of always naming the most frequent class is {summary.chance:.1f}%.")
        )
    if summary.metric in EXPLAINED:
        blocks.append(Text(EXPLAINED[summary.metric]))
    if summary.paired:
        together = " Intervals and p of the differences hold for all together." if len(summary.paired) > 1 else ""
        blocks.append(
            Text(
                "Runs of one seed share training images, initial weights and the order of the batches, so differences "
                "are taken seed by seed and image by image; below 0 the method is better. A difference counts as shown "
                f"if its interval leaves out 0, which is when p is below 0.05.{together}"
            )
        )
    blocks += map(Text, map(wording.typeset, conclusion.of_each(summary)))
    return Section("Results", blocks)


def _compared(difference: Difference) -> list[str]:
    words = {
        "not shown": "no",
        "no difference that matters": "none that matters",
        "unknown": "no interval" if difference.n else "no paired runs",
    }
    return [
        wording.with_interval(wording.adjusted(difference), "+"),
        wording.p_value(difference.p_adjusted),
        words.get(difference.outcome, difference.outcome),
    ]


def _seed_by_seed(comparison: Comparison, summary: Summary) -> Section:
    if not any(difference.n for difference in summary.differences.values()):
        return Section("Seed by seed", [])
    runs = comparison.runs
    rows = [
        Dots(name, seed_differences(runs[name], runs[summary.reference], summary.metric), wording.adjusted(difference))
        for name, difference in summary.differences.items()
    ]
    label = f"{summary.metric_name} minus that of {summary.reference}, percentage points"
    described = [
        f"{row.name} is better in {sum(d < 0 for d in row.differences.values())} of "
        f"{wording.seeds(len(row.differences))}, its mean is {wording.with_interval(row.mean, '+')}"
        for row in rows
    ]
    description = f"Difference from {summary.reference}, points: {'; '.join(described)}."
    explained = "Each dot is one seed, on the same images. The diamond below is the mean"
    if any(row.mean.ci95 is not None for row in rows):
        explained += ", the bar its 95% interval" + (", for all of them together" if len(rows) > 1 else "")
        if summary.covers_images:
            explained += ". It is for other images too, so it may be wider than the dots suggest"
    drawing = draw("differences", lambda: seed_dots(rows, label))
    return Section("Seed by seed", [Picture("differences", description, drawing), Text(f"{explained}.")])


def _labels(summary: Summary) -> Section:
    blocks: list[Block] = []
    if summary.beyond_labels:
        headings = ["Method", "Its labels alone", "Their share of the difference", "Method minus labels, points"]
        rows = [
            [
                name,
                beyond.labels,
                conclusion.share_of_labels(beyond.share).replace("-", wording.MINUS),
                wording.with_interval(wording.adjusted(beyond.difference), "+"),
            ]
            for name, beyond in summary.beyond_labels.items()
        ]
        blocks.append(Table("Labels mixed in the same way, features untouched", headings, rows))
    without = [m for m in summary.paired if m.partition(":")[0] == "moex" and m not in summary.beyond_labels]
    if without:
        blocks.append(
            Text(
                f"MoEx mixes features and labels. For {wording.listed(without, 'and')} the labels alone are not "
                f"here: that is the same spec with labels instead of moex, as in "
                f"{without[0].replace('moex', 'labels', 1)}."
            )
        )
    return Section("The labels alone", blocks)


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
    seeds = max(len(values) for columns in methods.values() for values in columns.values())
    colors = f"Grey: {comparison.reference}. Blue: the method named above. " if len(methods) > 1 else ""
    band = "One seed." if seeds == 1 else "Mean over seeds."
    if seeds >= LEAST_SEEDS:
        band = "Mean over seeds; the band is its 95% interval, epoch by epoch."
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
        mixed = wording.NONE if method.mixed is None else f"{method.mixed:.0f}%"
        rows.append([name, wording.seconds(method.seconds_mean), ratio, mixed])
    headings = ["Method", "Seconds a run", f"Times those of {summary.reference}", "Batches mixed"]
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
