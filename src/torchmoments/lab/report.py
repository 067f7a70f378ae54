"""What a comparison shows, from its run folders alone: summary.json, the table, the conclusion, the figure.

Errors are in percent, differences in percentage points; below 0 the method is better than the reference.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from torchmoments.lab import conclusion, figures
from torchmoments.lab.config import Metric
from torchmoments.lab.metrics import of_images
from torchmoments.lab.runs import write_json
from torchmoments.lab.statistics import Estimate, estimate, holm, interval_with_images

# With fewer, which images happen to be in the test set matters as much as the seeds.
_FEW_IMAGES = 1000

Runs = dict[str, dict[int, dict[str, Any]]]


def write(out: Path, methods: list[str]) -> dict[str, Any]:
    """Read the runs in `out` and write summary.json, differences.png and differences.svg there; gives the summary.

    Args:
        out: folder of a comparison.
        methods: words in the order of the report; the first is the reference.
    """
    runs = read_runs(out, methods)
    summary = summarize(runs)
    summary["conclusion"] = conclusion.sentences(summary)
    write_json(out / "summary.json", summary)
    differences = {word: seed_differences(runs, word, methods[0]) for word in methods[1:]}
    figures.write_differences(out, differences, summary)
    return summary


def read_runs(out: Path, methods: list[str]) -> Runs:
    """{method: {seed: run}}; a run has the contents of summary.json, "config", "env", and "predictions" if complete."""
    runs: Runs = {word: {} for word in methods}
    for folder in out.glob("runs/*/seed*"):
        word = unquote(folder.parent.name)
        if word not in runs:
            continue
        run = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "config", "env")}
        run |= run.pop("summary")
        if "failed" not in run:
            run["predictions"] = np.load(folder / "predictions.npy")
        runs[word][run["seed"]] = run
    return {word: dict(sorted(runs[word].items())) for word in methods}


def summarize(runs: Runs) -> dict[str, Any]:
    """The contents of summary.json, but the conclusion.

    Returns:
        methods: {word: error_mean, error_ci95, n, seconds_mean}
        paired: {word: difference_mean, difference_ci95, p_value, p_holm, n} for each method but the first; with fewer
            than 1,000 test images also difference_ci95_with_images
        beyond_labels: {moex word: labels, difference_mean, difference_ci95, n}: moex minus the labels alone
        reference, test_images, settings, environments, failed: [{method, seed, reason}]

        What is undefined is None.
    """
    reference, *others = runs
    all_runs = [run for of_method in runs.values() for run in of_method.values()]
    complete = [run for run in all_runs if "predictions" in run]
    test_images = len(complete[0]["predictions"]) if complete else None
    paired = {word: _paired(runs, word, reference) for word in others}
    for entry, adjusted in zip(paired.values(), holm([entry["p_value"] for entry in paired.values()]), strict=True):
        entry["p_holm"] = adjusted
    return {
        "reference": reference,
        "methods": {word: _method(list(of_method.values())) for word, of_method in runs.items()},
        "paired": paired,
        "beyond_labels": {
            word: {"labels": labels, **_paired(runs, word, labels)}
            for word in others
            for labels in others
            if _is_moex_of(word, labels)
        },
        "test_images": test_images,
        "settings": {k: v for k, v in all_runs[0]["config"].items() if k not in ("method", "seed")} if all_runs else {},
        "environments": _distinct([run["env"] for run in complete]),
        "failed": [
            {"method": run["method"], "seed": run["seed"], "reason": run["failed"]}
            for run in all_runs
            if "failed" in run
        ],
    }


def seed_differences(runs: Runs, word: str, reference: str) -> dict[int, float]:
    """{seed: error of `word` minus error of `reference`}, for the seeds that both have; the error is the metric."""
    both = [seed for seed in runs[word] if all("predictions" in runs[w].get(seed, {}) for w in (word, reference))]
    return {seed: runs[word][seed]["error"] - runs[reference][seed]["error"] for seed in both}


def table(summary: dict[str, Any]) -> Table:
    """The terminal's table: error, paired difference, p, Holm-adjusted p, number of seeds, seconds."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown.add_column("method", overflow="fold")
    for heading in ("error %", f"minus {summary['reference']}", "p", "p Holm", "n", "s/run"):
        shown.add_column(Text(heading), justify="right", no_wrap=True)
    for word, of_method in summary["methods"].items():
        paired = summary["paired"].get(word)
        error = _with_half(of_method["error_mean"], of_method["error_ci95"])
        compared = ["", "", ""]
        if paired is not None:
            compared = [
                _with_half(paired["difference_mean"], paired["difference_ci95"], sign="+"),
                show_p(paired["p_value"]),
                show_p(paired["p_holm"]),
            ]
        seconds = of_method["seconds_mean"]
        shown.add_row(Text(word), error, *compared, str(of_method["n"]), "-" if seconds is None else f"{seconds:.1f}")
    return shown


def show_p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def _with_half(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str:
    if mean is None:
        return "-"
    return f"{mean:{sign}.2f}" + ("" if ci95 is None else f" ± {(ci95[1] - ci95[0]) / 2:.2f}")


def _method(of_method: list[dict[str, Any]]) -> dict[str, Any]:
    complete = [run for run in of_method if "predictions" in run]
    error = estimate([run["error"] for run in complete])
    seconds = float(np.mean([run["seconds"] for run in complete])) if complete else None
    return {"error_mean": error.mean, "error_ci95": error.ci95, "n": error.n, "seconds_mean": seconds}


def _paired(runs: Runs, word: str, reference: str) -> dict[str, Any]:
    difference: Estimate = estimate(list(seed_differences(runs, word, reference).values()))
    entry = {
        "difference_mean": difference.mean,
        "difference_ci95": difference.ci95,
        "p_value": difference.p_value,
        "n": difference.n,
    }
    images = _image_differences(runs, word, reference)
    if images is not None and images.shape[1] < _FEW_IMAGES:
        entry["difference_ci95_with_images"] = interval_with_images(images)
    return entry


def _image_differences(runs: Runs, word: str, reference: str) -> np.ndarray | None:
    """[seeds, images] whose mean over images is the seed's difference; None where the metric is no such mean."""
    seeds = seed_differences(runs, word, reference)
    values = [[_of_images(runs[w][seed]) for seed in seeds] for w in (word, reference)]
    if not seeds or any(row is None for of_word in values for row in of_word):
        return None
    ours, theirs = (np.stack([row for row in of_word if row is not None]) for of_word in values)
    difference: np.ndarray = ours - theirs
    return difference


def _of_images(run: dict[str, Any]) -> np.ndarray | None:
    metric: Metric = run["config"]["metric"]
    return of_images(metric, run["predictions"])


def _is_moex_of(word: str, labels: str) -> bool:
    """Whether `labels` is the control of `word`: the same options, as typed."""
    moex, control = word.partition(":"), labels.partition(":")
    return moex[0] == "moex" and control[0] == "labels" and moex[1:] == control[1:]


def _distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for index, item in enumerate(items) if item not in items[:index]]
