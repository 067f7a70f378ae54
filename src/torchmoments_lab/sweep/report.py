"""What a sweep shows: summary.json, table.md, cells.csv, seeds.csv, sweep.png, sweep.svg; and the terminal's tables."""

from pathlib import Path
from typing import Any

from torchmoments_lab.files import as_csv, write_bytes, write_json, write_text
from torchmoments_lab.metrics import NAMES
from torchmoments_lab.report import render
from torchmoments_lab.report.figures import as_files
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.wording import failed, p_value, plus_minus
from torchmoments_lab.sweep import figures
from torchmoments_lab.sweep.effects import name_of
from torchmoments_lab.sweep.summary import Sweep, summarize


def write(out: Path, sweep: Sweep) -> dict[str, Any]:
    """Write the files to `out`; gives what summary.json holds: `summary.summarize`, and a "conclusion"."""
    summary = summarize(sweep)
    summary["conclusion"] = sentences(summary)
    found = tables(summary)
    write_json(out / "summary.json", summary)
    write_text(out / "table.md", "\n\n".join(map(render.table, found)) + "\n")
    write_text(out / "cells.csv", as_csv(_cell_rows(summary)))
    write_text(out / "seeds.csv", as_csv(_seed_rows(sweep)))
    for kind, content in as_files(lambda: figures.figure(summary)).items():
        write_bytes(out / f"sweep.{kind}", content)
    return summary


def tables(summary: dict[str, Any]) -> list[Table]:
    """The cells, and where an axis has two values the effects."""
    axes = list(summary["axes"])
    name = _metric_name(summary)
    headings = [*axes, f"{name}, %", f"minus {summary['reference']}, points", "p Holm", "n"]
    beside = [
        [*_labels(words, entry["settings"], axes), plus_minus(entry["error_mean"], entry["error_ci95"]), *more]
        for words, entry, more in _beside(summary)
    ]
    rows = [
        [*entry["values"].values(), plus_minus(entry["error_mean"], entry["error_ci95"]), *_compared(entry)]
        for entry in summary["cells"]
    ]
    images = (
        f"{summary['images']:,} {summary['settings'].get('evaluate', 'test')} images" if summary["images"] else "no run"
    )
    found = [Table(f"{name[0].upper()}{name[1:]} on {images}, mean over seeds ± 95% CI", headings, [*beside, *rows])]
    if len(summary["cells"]) > 1 and summary["effects"]:
        rows = [
            [name_of(e), plus_minus(e["effect_mean"], e["effect_ci95"], "+"), p_value(e["p_holm"]), str(e["n"])]
            for e in summary["effects"]
        ]
        found.append(
            Table(
                "Effects in points, averaged over the other axes, ± 95% CI", ["effect", "points", "p Holm", "n"], rows
            )
        )
    return found


def sentences(summary: dict[str, Any]) -> list[str]:
    """What the sweep shows in plain words."""
    said = []
    best, evaluate = summary["best"], summary["settings"].get("evaluate")
    if best is not None:
        error = plus_minus(best["error_mean"], best["error_ci95"])
        said.append(f"Lowest {_metric_name(summary)}: {error} % with {best['method']}{_settings_of(best, summary)}.")
        if best["rivals"]:
            said[0] += f" {_beaten(best['rivals'], best['not_worse'])}"
        if best["rivals"] and evaluate == "validation":
            said.append(
                f"The best of many looks better than it is. Judge it once on the test images: {best['command']}"
            )
    if summary["environments"][1:]:
        said.append(f"The runs come from {len(summary['environments'])} environments, see env.json in their folders.")
    said += map(failed, summary["failed"])
    return said


def _metric_name(summary: dict[str, Any]) -> str:
    return NAMES[summary["settings"].get("metric", "error")]


def _beaten(rivals: int, not_worse: int) -> str:
    if rivals == 1:
        return f"The other training is {'not ' if not_worse else ''}shown to be worse."
    if not_worse in (0, rivals):
        return f"{'None' if not_worse else 'Each'} of the other {rivals} trainings is shown to be worse."
    worse = rivals - not_worse
    return f"{worse} of the other {rivals} trainings {'is' if worse == 1 else 'are'} shown to be worse."


def _settings_of(best: dict[str, Any], summary: dict[str, Any]) -> str:
    settings = next(iter(summary["references"]))["settings"]
    found = ", ".join(f"{name}={best['values'][name]}" for name in settings)
    return f" at {found}" if found else ""


def _beside(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any], list[str]]]:
    references = [(summary["reference"], entry, ["", "", str(entry["n"])]) for entry in summary["references"]]
    return [*references, *((entry["method"], entry, _compared(entry)) for entry in summary["controls"])]


def _labels(word: str, settings: dict[str, str], axes: list[str]) -> list[str]:
    """The columns of the axes for a method beside the grid: its settings, and its word in the first free one."""
    free = next((axis for axis in axes if axis not in settings), axes[0])
    return [
        settings.get(axis, "") if axis != free else ", ".join(filter(None, (word, settings.get(axis)))) for axis in axes
    ]


def _compared(entry: dict[str, Any]) -> list[str]:
    return [
        plus_minus(entry["difference_mean"], entry["difference_ci95"], "+"),
        p_value(entry["p_holm"]),
        str(entry["n"]),
    ]


def _cell_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    references = [entry | {"method": summary["reference"]} for entry in summary["references"]]
    numbers = ("error", "difference")
    return [
        {
            **{name: (entry.get("values") or entry["settings"]).get(name) for name in summary["axes"]},
            "method_word": entry["method"],
            **{f"{k}_{end}": _end(entry, k, end) for k in numbers for end in ("mean", "low", "high")},
            "p_value": entry.get("p_value"),
            "p_holm": entry.get("p_holm"),
            "n": entry["n"],
        }
        for entry in [*references, *summary["controls"], *summary["cells"]]
    ]


def _end(entry: dict[str, Any], name: str, end: str) -> float | None:
    if end == "mean":
        return entry.get(f"{name}_mean")
    ci95 = entry.get(f"{name}_ci95")
    return None if ci95 is None else ci95[end == "high"]


def _seed_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """One row a run, so that every number here can be worked out again."""
    return [
        {
            **{axis.name: (o.cell.values if o.cell else o.settings).get(axis.name) for axis in sweep.axes},
            "method_word": o.word,
            "seed": seed,
            "error": error,
        }
        for o in [*sweep.references, *sweep.outcomes]
        for seed, error in o.errors.items()
    ]
