"""The contents of a report: a comparison and its summary as a page.

Errors are in percent, differences in percentage points; below 0 the method is better than the reference.
"""

import shlex
from collections.abc import Iterable
from typing import Any

import numpy as np

from torchmoments_lab.report import conclusion, provenance, wording
from torchmoments_lab.report.curve_figure import Curves, curves
from torchmoments_lab.report.figures import draw
from torchmoments_lab.report.page import Block, Page, Picture, Section, Table, Text
from torchmoments_lab.report.reading import CURVES, Comparison
from torchmoments_lab.report.seed_figure import Row, differences
from torchmoments_lab.report.summary import FEW_IMAGES, seed_differences

_CURVES = {"loss": "training loss", "accuracy": "training accuracy, %"}


def page(comparison: Comparison, summary: dict[str, Any]) -> Page:
    """The whole report; `summary` is that of `summary.summarize`."""
    outcomes = [conclusion.outcome(entry) for entry in summary["paired"].values()]
    sections = [
        _results(summary),
        _seed_by_seed(comparison, summary),
        _labels(summary),
        _intervals(summary),
        _curves(comparison),
        _cost(summary),
        _not_complete(summary),
        provenance.section(comparison),
    ]
    return Page(
        title=_title(summary),
        conclusion=wording.typeset(conclusion.headline(summary)),
        outcome=next((kind for kind in ("gain", "harm") if kind in outcomes), "none"),
        facts=_facts(summary),
        notes=[Text(wording.typeset(note), note=True) for note in _notes(comparison, summary)],
        sections=[section for section in sections if section.blocks],
        end="Made from the run folders alone. Again: torchmoments report " + shlex.quote(comparison.name),
    )


def _title(summary: dict[str, Any]) -> str:
    others = list(summary["paired"])
    listed = ", ".join(others) if len(others) <= 3 else f"{len(others)} methods"
    against = f"{listed} against {summary['reference']}" if others else summary["reference"]
    return f"{summary['settings'].get('data', 'comparison')}: {against}"


def _facts(summary: dict[str, Any]) -> list[str]:
    settings = summary["settings"]
    numbers = sorted({of_method["n"] for of_method in summary["methods"].values()})
    few, many = numbers[0], numbers[-1]
    counted = [
        (settings.get("classes"), "classes: {}"),
        (settings.get("model"), "{}"),
        (settings.get("train_size"), "{:,} training images"),
        (settings.get("epochs"), "{:,} epochs"),
        (wording.seeds(many) if few == many else f"{few} to {wording.seeds(many)}", "{}"),
        (summary["test_images"], f"{{:,}} {conclusion.judged(summary)} images"),
    ]
    return [words.format(value) for value, words in counted if value is not None]


def _notes(comparison: Comparison, summary: dict[str, Any]) -> list[str]:
    """What a reader of the conclusion must not miss."""
    notes = conclusion.of_labels(summary)
    unsure = [
        f"{word} {ci95[0]:+.2f} to {ci95[1]:+.2f}"
        for word, entry in summary["paired"].items()
        if conclusion.outcome(entry) in ("gain", "harm") and (ci95 := entry.get("difference_ci95_with_images"))
        if ci95[0] <= 0 <= ci95[1]
    ]
    if unsure:
        notes.append(
            f"Shown for these {summary['test_images']:,} {conclusion.judged(summary)} images only. For other images "
            f"too, the interval of the difference reaches both sides of 0: {'; '.join(unsure)} points."
        )
    if "copies" in summary["settings"]:
        notes.append(
            f"{summary['settings']['copies']} {conclusion.judged(summary)} images are also training images, pixel for "
            "pixel: errors on new images are higher."
        )
    failed, missing = len(summary["failed"]), sum(map(len, summary["missing"].values()))
    if failed or missing:
        counts = [f"{failed} failed"] * bool(failed) + [f"{missing} not trained yet"] * bool(missing)
        complete = sum(of_method["n"] for of_method in summary["methods"].values())
        notes.append(f"{complete} of {complete + failed + missing} runs are complete: {' and '.join(counts)}.")
    if len(comparison.history) > 1 and summary["paired"]:
        notes.append(
            "Seeds or methods were added to this comparison later. If that was decided after a look at the results, "
            "the p values are too small."
        )
    if len(summary["environments"]) > 1:
        notes.append(f"The runs come from {len(summary['environments'])} environments, see below.")
    return notes


def _results(summary: dict[str, Any]) -> Section:
    paired = summary["paired"]
    several = len(paired) > 1
    headings = ["Method", f"{conclusion.judged(summary).capitalize()} {conclusion.metric_name(summary)}, %"]
    if paired:
        headings.append(f"Minus {summary['reference']}, points")
        headings += ["p (Holm-adjusted)" if several else "p", "Difference shown"]
    rows = []
    for word, of_method in summary["methods"].items():
        row = [word, wording.with_interval(of_method["error_mean"], of_method["error_ci95"])]
        if word in paired:
            row += _compared(paired[word], several)
        elif paired:
            row += ["reference", "", ""]
        rows.append([*row, str(of_method["n"])])
    table = Table("Mean over seeds and, in brackets, its 95% interval", [*headings, "Seeds"], rows)
    blocks: list[Block] = [table]
    if summary["metric"] == "auroc":
        blocks.append(Text("The AUROC error is 100 times (1 - AUROC): lower is better."))
    if paired:
        adjusted = ", and Holm's adjustment makes up for comparing several methods." if several else "."
        blocks.append(
            Text(
                "Runs of one seed share training images, initial weights and the order of the batches, so differences "
                f"are taken seed by seed; below 0 the method is better. p is that of the paired t-test{adjusted} "
                f"A difference counts as shown where {'the adjusted p' if several else 'p'} is below 0.05."
            )
        )
    return Section("Results", blocks)


def _compared(entry: dict[str, Any], several: bool) -> list[str]:
    shown = {"not shown": "no", "unknown": "no interval" if entry["n"] else "no paired runs"}
    outcome = conclusion.outcome(entry)
    adjusted = f" ({wording.p_value(entry['p_holm'])})" if several and entry["p_holm"] is not None else ""
    return [
        wording.with_interval(entry["difference_mean"], entry["difference_ci95"], "+"),
        wording.p_value(entry["p_value"]) + adjusted,
        shown.get(outcome, outcome),
    ]


def _seed_by_seed(comparison: Comparison, summary: dict[str, Any]) -> Section:
    reference, paired = summary["reference"], summary["paired"]
    if not any(entry["n"] for entry in paired.values()):
        return Section("Seed by seed", [])
    rows = [
        Row(
            word, seed_differences(comparison.runs, word, reference), entry["difference_mean"], entry["difference_ci95"]
        )
        for word, entry in paired.items()
    ]
    label = f"{conclusion.metric_name(summary)} minus that of {reference}, percentage points"
    described = [
        f"{row.word} is better in {sum(d < 0 for d in row.differences.values())} of "
        f"{wording.seeds(len(row.differences))}, its mean is {wording.with_interval(row.mean, row.ci95, '+')}"
        for row in rows
    ]
    return Section(
        "Seed by seed",
        [
            Picture(
                "differences",
                f"Difference to {reference}, points: {'; '.join(described)}.",
                draw("differences", lambda width: differences(rows, label, width)),
            ),
            Text("Each dot is one seed. The diamond below is the mean, the bar its 95% interval."),
        ],
    )


def _labels(summary: dict[str, Any]) -> Section:
    paired, beyond = summary["paired"], summary["beyond_labels"]
    blocks: list[Block] = []
    if beyond:
        headings = ["Method", "Its labels alone", "Their share of the gain", "Method minus labels, points"]
        rows = [
            [
                word,
                entry["labels"],
                conclusion.share_of_labels(entry, paired[word]) or "no gain shown",
                wording.with_interval(entry["difference_mean"], entry["difference_ci95"], "+"),
            ]
            for word, entry in beyond.items()
        ]
        blocks.append(Table("Labels mixed in the same way, features untouched", headings, rows))
    without = [word for word in paired if word.partition(":")[0] == "moex" and word not in beyond]
    if without:
        control = without[0].replace("moex", "labels", 1)
        blocks.append(
            Text(
                f"MoEx mixes features and labels. For {conclusion.listed(without, 'and')} the labels alone are not "
                f"here: that is the same word with labels instead of moex, as in {control}."
            )
        )
    return Section("The labels alone", blocks)


def _intervals(summary: dict[str, Any]) -> Section:
    said = conclusion.coverage(summary)
    if not said:
        return Section("What the intervals cover", [])
    blocks: list[Block] = [Text(said[0])]
    wider = {word: entry.get("difference_ci95_with_images") for word, entry in summary["paired"].items()}
    if any(wider.values()):
        blocks.append(
            Text(
                f"With fewer than {FEW_IMAGES:,} test images, it also matters which images they happen to be. The "
                "second interval has them as a sample, too; it is the one to go by for other images of the same kind."
            )
        )
        rows = [
            [word, wording.interval(summary["paired"][word]["difference_ci95"], "+"), wording.interval(ci95, "+")]
            for word, ci95 in wider.items()
        ]
        headings = ["Method", "On these images", "With other images too"]
        blocks.append(Table(f"95% interval of the difference to {summary['reference']}, points", headings, rows))
    return Section("What the intervals cover", blocks)


def _curves(comparison: Comparison) -> Section:
    methods = [Curves(word, _by_column(of_method.values())) for word, of_method in comparison.runs.items()]
    reference, *others = methods
    titles = {name: title for name, title in _CURVES.items() if name in reference.columns}
    others = [method for method in others if method.columns]
    if not titles:
        return Section("Learning curves", [])
    ends = [
        f"{method.word} ends with "
        + " and ".join(f"{titles[name]} {method.columns[name][:, -1].mean():.3g}" for name in titles)
        for method in [reference, *others]
        if titles.keys() <= method.columns.keys()
    ]
    said = f"Grey: {reference.word}. Blue: the method named above. " if others else ""
    several = any(len(values) > 1 for method in methods for values in method.columns.values())
    said += "Mean over seeds; the band is its 95% interval, epoch by epoch." if several else "One seed."
    return Section(
        "Learning curves",
        [
            Picture(
                "curves",
                f"Training by epoch: {'; '.join(ends)}.",
                draw("curves", lambda width: curves(others, reference, titles, width)),
            ),
            Text(said),
            Text(
                "This is training, in train mode: the test images are seen once, after the last epoch. Where labels "
                "are mixed, loss and accuracy count both labels by their weights: a higher loss there is no worse fit."
            ),
        ],
    )


def _by_column(of_method: Iterable[dict[str, Any]]) -> dict[str, np.ndarray]:
    """{column: [seeds, epochs]} of the complete runs, without the columns that one of them lacks."""
    epochs = [run["epochs"] for run in of_method if "epochs" in run]
    return {name: np.stack([e[name] for e in epochs]) for name in CURVES if epochs and all(name in e for e in epochs)}


def _cost(summary: dict[str, Any]) -> Section:
    if summary["test_images"] is None:
        return Section("What it costs", [])
    rows = []
    for word, of_method in summary["methods"].items():
        entry = summary["paired"].get(word)
        ratio = "reference" if entry is None else wording.with_interval(entry["slowdown"], entry["slowdown_ci95"])
        rows.append([word, wording.seconds(of_method["seconds_mean"]), ratio])
    headings = ["Method", "Seconds a run", f"Times those of {summary['reference']}"]
    caption = "Training time; ratios paired by seed, their geometric mean and 95% interval"
    rough = "Rough: runs that train side by side share the machine and slow each other down."
    return Section("What it costs", [Table(caption, headings, rows), Text(rough)])


def _not_complete(summary: dict[str, Any]) -> Section:
    reasons: dict[tuple[str, str], list[int]] = {}
    for run in summary["failed"]:
        reasons.setdefault((run["method"], run["reason"]), []).append(run["seed"])
    for word, missing in summary["missing"].items():
        reasons[word, "not trained yet"] = missing
    rows = [[word, wording.spans(numbers), reason] for (word, reason), numbers in reasons.items()]
    caption = "They count nowhere; the same command tries them again"
    return Section(
        "Runs that are not complete", [Table(caption, ["Method", "Seeds", "Why"], rows, numbers=False)] if rows else []
    )
