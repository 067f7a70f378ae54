"""The contents of a report: a comparison and its summary as a page.

Errors are in percent, differences in percentage points; below 0 the method is better than the reference.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from torchmoments.lab import conclusion
from torchmoments.lab.figures import Curves, Drawing, Row, curves, differences, draw
from torchmoments.lab.folder import CURVES, Comparison
from torchmoments.lab.page import Block, Command, Page, Picture, Section, Table, Text
from torchmoments.lab.summary import FEW_IMAGES, seed_differences

_OUTCOMES = {"gain": "gain", "harm": "harm", "not shown": "no", "unknown": "no interval"}
_CURVES = {"loss": "training loss", "accuracy": "training accuracy, %"}
_NONE = "–"


def page(comparison: Comparison, summary: dict[str, Any]) -> Page:
    """The whole report; `summary` is that of `summary.summarize`."""
    outcomes = [conclusion.outcome(entry) for entry in summary["paired"].values()]
    sections = [
        _results(summary),
        _seed_by_seed(comparison, summary),
        _labels(summary),
        _intervals(summary),
        _curves(comparison, summary),
        _cost(summary),
        _not_complete(summary),
        _settings(comparison, summary),
    ]
    return Page(
        title=_title(summary),
        conclusion=typeset(conclusion.headline(summary)),
        outcome=next((kind for kind in ("gain", "harm") if kind in outcomes), "not shown"),
        facts=_facts(summary),
        notes=_notes(comparison, summary),
        sections=[section for section in sections if section.blocks],
        end="Made from the run folders alone. Again: torchmoments report " + shlex.quote(comparison.name),
    )


def typeset(words: str) -> str:
    """Our sentences with a minus sign for the hyphen of a number, and no line break inside `p = 0.01`."""
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=[ (])-(?=\d)", "\u2212", words))


def _title(summary: dict[str, Any]) -> str:
    others = list(summary["paired"])
    listed = ", ".join(others) if len(others) <= 3 else f"{len(others)} methods"
    against = f"{listed} against {summary['reference']}" if others else summary["reference"]
    return f"{summary['settings'].get('data', 'comparison')}: {against}"


def _facts(summary: dict[str, Any]) -> list[str]:
    settings = summary["settings"]
    seeds = sorted({of_method["n"] for of_method in summary["methods"].values()})
    counted = [
        (settings.get("model"), "{}"),
        (settings.get("train_size"), "{:,} training images"),
        (settings.get("epochs"), "{:,} epochs"),
        ("–".join(str(n) for n in sorted({seeds[0], seeds[-1]})), "{} seeds" if seeds != [1] else "{} seed"),
        (summary["test_images"], "{:,} test images"),
    ]
    return [words.format(value) for value, words in counted if value is not None]


def _notes(comparison: Comparison, summary: dict[str, Any]) -> list[Text]:
    notes = conclusion.of_labels(summary)
    wider = {
        word: entry["difference_ci95_with_images"]
        for word, entry in summary["paired"].items()
        if conclusion.outcome(entry) in ("gain", "harm") and entry.get("difference_ci95_with_images")
    }
    unsure = [f"{word} {ci95[0]:+.2f} to {ci95[1]:+.2f}" for word, ci95 in wider.items() if ci95[0] <= 0 <= ci95[1]]
    if unsure:
        notes.append(
            f"Shown for these {summary['test_images']:,} test images only. For other images too, the interval of the "
            f"difference reaches both sides of 0: {'; '.join(unsure)} points."
        )
    failed, missing = len(summary["failed"]), sum(map(len, summary["missing"].values()))
    if failed or missing:
        counts = [f"{failed} failed"] * bool(failed) + [f"{missing} not trained yet"] * bool(missing)
        complete = sum(of_method["n"] for of_method in summary["methods"].values())
        notes.append(f"{complete} of {complete + failed + missing} runs are complete: {' and '.join(counts)}.")
    if len(comparison.history) > 1 and summary["paired"]:
        notes.append(
            "Seeds or methods were added to this comparison later. If that was decided after a look at the results, the "
            "p values are too small."
        )
    return [Text(typeset(note), note=True) for note in notes]


def _results(summary: dict[str, Any]) -> Section:
    paired, name = summary["paired"], conclusion.metric_name(summary)
    several = len(paired) > 1
    headings = ["Method", f"Test {name}, %".replace("Test AUROC", "AUROC")]
    if paired:
        headings += [f"Minus {summary['reference']}, points", "p (Holm-adjusted)" if several else "p", "Difference shown"]
    rows = []
    for word, of_method in summary["methods"].items():
        row = [word, _range(of_method["error_mean"], of_method["error_ci95"])]
        entry = paired.get(word)
        if entry is not None:
            row += [
                _range(entry["difference_mean"], entry["difference_ci95"], "+"),
                _p(entry["p_value"]) + (f" ({_p(entry['p_holm'])})" if several and entry["p_holm"] is not None else ""),
                _OUTCOMES[conclusion.outcome(entry)] if entry["n"] else "no paired runs",
            ]
        elif paired:
            row += ["reference", "", ""]
        rows.append([*row, str(of_method["n"])])
    table = Table("Mean over seeds and, in brackets, its 95% interval", [*headings, "Seeds"], rows)
    blocks: list[Block] = [table]
    if name == "AUROC error":
        blocks.append(Text("The AUROC error is 100 × (1 − AUROC), so lower is better."))
    if paired:
        blocks.append(
            Text(
                "Runs of one seed share training images, initial weights and the order of the batches, so differences are "
                "taken seed by seed; below 0 the method is better. p is that of the paired t-test"
                + (", and Holm's adjustment makes up for comparing several methods." if several else ".")
                + " A difference counts as shown where "
                + ("the adjusted p" if several else "p")
                + " is below 0.05."
            )
        )
    return Section("Results", blocks)


def _seed_by_seed(comparison: Comparison, summary: dict[str, Any]) -> Section:
    if not any(entry["n"] for entry in summary["paired"].values()):
        return Section("Seed by seed", [])
    rows = [
        Row(
            word,
            seed_differences(comparison.runs, word, summary["reference"]),
            entry["difference_mean"],
            entry["difference_ci95"],
        )
        for word, entry in summary["paired"].items()
    ]
    label = f"{conclusion.metric_name(summary)} minus that of {summary['reference']}, percentage points"
    described = [
        f"{row.word} is better in {sum(d < 0 for d in row.differences.values())} of {_seeds(len(row.differences))}, "
        f"its mean is {_range(row.mean, row.ci95, '+')}"
        for row in rows
    ]
    drawing = draw("differences", lambda width: differences(rows, label, width))
    return Section(
        "Seed by seed",
        [
            Picture("differences", f"Difference to {summary['reference']}, points: {'; '.join(described)}.", drawing),
            Text("Each dot is one seed. The diamond below is the mean, the bar its 95% interval."),
        ],
    )


def _labels(summary: dict[str, Any]) -> Section:
    paired, beyond = summary["paired"], summary["beyond_labels"]
    rows = []
    for word, entry in beyond.items():
        alone, both = paired[entry["labels"]]["difference_mean"], paired[word]["difference_mean"]
        gained = conclusion.outcome(paired[word]) == "gain" and alone is not None
        rows.append(
            [
                word,
                entry["labels"],
                f"{100 * alone / both:.0f}%" if gained else "no gain shown",
                _range(entry["difference_mean"], entry["difference_ci95"], "+"),
            ]
        )
    alone_words = [word for word in paired if word.partition(":")[0] == "moex" and word not in beyond]
    blocks: list[Block] = []
    if rows:
        headings = ["Method", "Its labels alone", "Their share of the gain", "Method minus labels, points"]
        blocks.append(Table("Labels mixed in the same way, features untouched", headings, rows))
    if alone_words:
        control = alone_words[0].replace("moex", "labels", 1)
        blocks.append(
            Text(
                f"MoEx mixes features and labels. For {conclusion.listed(alone_words, 'and')} the labels alone are not here: "
                f"that is the same word with labels instead of moex, as in {control}."
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
                f"With fewer than {FEW_IMAGES:,} test images, it also matters which images they happen to be. The second "
                "interval has them as a sample, too; it is the one to go by for other images of the same kind."
            )
        )
        rows = [
            [word, _ends(summary["paired"][word]["difference_ci95"], "+"), _ends(interval, "+")]
            for word, interval in wider.items()
        ]
        headings = ["Method", "On these images", "With other images too"]
        blocks.append(Table(f"95% interval of the difference to {summary['reference']}, points", headings, rows))
    return Section("What the intervals cover", blocks)


def _curves(comparison: Comparison, summary: dict[str, Any]) -> Section:
    by_word = {word: _by_column(of_method.values()) for word, of_method in comparison.runs.items()}
    reference, *others = [Curves(word, columns) for word, columns in by_word.items() if columns]
    shown = [name for name in CURVES if name in reference.columns] if by_word[summary["reference"]] else []
    if not shown:
        return Section("Learning curves", [])
    titles = {name: _CURVES[name] for name in shown}
    described = [f"at the end {word} has {_last(columns, shown)}" for word, columns in by_word.items() if columns]
    band = "the band is the 95% interval of that mean, epoch by epoch"
    words = f"Mean over seeds; {band}." if any(len(c[shown[0]]) > 1 for c in by_word.values() if c) else "One seed."
    if others:
        words = f"Grey: {reference.word}. Blue: the method named above. {words}"
    drawing: Drawing = draw("curves", lambda width: curves(others, reference, titles, width))
    return Section(
        "Learning curves",
        [
            Picture("curves", f"Training by epoch: {'; '.join(described)}.", drawing),
            Text(words),
            Text(
                "This is training, in train mode: the test images are seen once, after the last epoch. Where labels are "
                "mixed, loss and accuracy count both labels by their weights, so a higher loss there is no worse fit."
            ),
        ],
    )


def _cost(summary: dict[str, Any]) -> Section:
    rows = []
    for word, of_method in summary["methods"].items():
        entry = summary["paired"].get(word)
        slower = "reference" if entry is None else _range(entry["slowdown"], entry["slowdown_ci95"])
        seconds = of_method["seconds_mean"]
        rows.append([word, _NONE if seconds is None else _digits(seconds), slower])
    if all(row[1] == _NONE for row in rows):
        return Section("What it costs", [])
    headings = ["Method", "Seconds a run", f"Times those of {summary['reference']}"]
    return Section(
        "What it costs",
        [
            Table("Training time; ratios paired by seed, their geometric mean and 95% interval", headings, rows),
            Text("Rough: runs that train side by side share the machine and slow each other down."),
        ],
    )


def _not_complete(summary: dict[str, Any]) -> Section:
    reasons: dict[tuple[str, str], list[int]] = {}
    for run in summary["failed"]:
        reasons.setdefault((run["method"], run["reason"]), []).append(run["seed"])
    for word, seeds in summary["missing"].items():
        reasons[word, "not trained yet"] = seeds
    rows = [[word, _spans(seeds), reason] for (word, reason), seeds in reasons.items()]
    table = Table("They count nowhere; the same command tries them again", ["Method", "Seeds", "Why"], rows, False)
    return Section("Runs that are not complete", [table] if rows else [])


def _settings(comparison: Comparison, summary: dict[str, Any]) -> Section:
    shared = [[name.replace("_", " "), _plain(value)] for name, value in comparison.settings.items()]
    blocks: list[Block] = [
        Text("This command makes all of it:"),
        Command(_command(comparison)),
        Table("Settings that all runs share", ["Setting", "Value"], shared, False),
    ]
    environments = [run["env"] for of_method in comparison.runs.values() for run in of_method.values() if "env" in run]
    found = [[name.replace("_", " "), _counted(environments, name)] for name in dict.fromkeys(k for e in environments for k in e)]
    if found:
        blocks.append(Table("Versions and hardware", ["What", "Used"], found, False))
    history = [
        [str(event.get("time", _NONE)).replace("T", " ").replace("+00:00", " UTC"), ", ".join(event["methods"]), str(event["seeds"])]
        for event in comparison.history
    ]
    blocks.append(Table("What was asked for, and when", ["Time", "Methods", "Seeds"], history, False))
    return Section("How it was made", blocks)


def _command(comparison: Comparison) -> str:
    """The command that gives this comparison, with every setting written out."""
    flags = [_flag(name, value) for name, value in comparison.settings.items()]
    flags.append("--methods " + " ".join(shlex.quote(word) for word in comparison.methods))
    flags.append(f"--seeds {max((event['seeds'] for event in comparison.history), default=1)}")
    flags.append("--out " + shlex.quote(comparison.name))
    return " \\\n    ".join(["torchmoments compare", *flags])


def _flag(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    values = value if isinstance(value, list) else [value]
    return " ".join([f"--{flag}", *(shlex.quote(str(v)) for v in values)])


def _p(p: float | None) -> str:
    return _NONE if p is None else conclusion.show_p(p)


def _range(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str:
    if mean is None:
        return _NONE
    return _signed(mean, sign) + ("" if ci95 is None else f" ({_ends(ci95, sign)})")


def _ends(ci95: tuple[float, float] | None, sign: str = "") -> str:
    return _NONE if ci95 is None else f"{_signed(ci95[0], sign)} to {_signed(ci95[1], sign)}"


def _signed(number: float, sign: str = "") -> str:
    return f"{number:{sign}.2f}".replace("-", "\u2212")


def _digits(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else _NONE if value is None else str(value)


def _counted(environments: list[dict[str, Any]], name: str) -> str:
    """The value of `name` in all runs, or each of them with the number of runs that have it."""
    counts = Counter(_plain(environment.get(name)) for environment in environments)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} runs)" for value, count in counts.items())


def _spans(numbers: list[int]) -> str:
    """1, 3–5"""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def _by_column(of_method: Iterable[dict[str, Any]]) -> dict[str, np.ndarray]:
    """{column: [seeds, epochs]} of the complete runs, without columns that a run lacks."""
    epochs = [run["epochs"] for run in of_method if "epochs" in run]
    return {name: np.stack([e[name] for e in epochs]) for name in CURVES if epochs and all(name in e for e in epochs)}


def _last(columns: dict[str, np.ndarray], shown: list[str]) -> str:
    return " and ".join(f"{_CURVES[name].split(',')[0]} {columns[name][:, -1].mean():.3g}" for name in shown if name in columns)
