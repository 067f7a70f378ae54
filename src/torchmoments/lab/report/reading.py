"""What a comparison's folder holds, read and checked. Needs no PyTorch.

Everything that a report says comes from here: comparison.json and the run folders (see `runs`).
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from torchmoments.lab.files import read_json

# {method: {seed: run}}. A run has the contents of its summary.json, "config", "env", and if it is complete
# "predictions" [images] (see `runs.with_targets`) and "epochs" {column of metrics.csv: [epochs]}.
Runs = dict[str, dict[int, dict[str, Any]]]

# The columns of metrics.csv that a report draws, where they are there.
CURVES = ("loss", "accuracy")


@dataclass(frozen=True)
class Comparison:
    """A comparison: the settings that all runs share, the methods (the first is the reference), what was asked for."""

    name: str
    settings: dict[str, Any]
    methods: list[str]
    history: list[dict[str, Any]]
    runs: Runs

    def missing(self) -> dict[str, list[int]]:
        """{method: seeds that were asked for and have no run folder}, without the methods that have them all."""
        asked: dict[str, set[int]] = {word: set() for word in self.methods}
        for event in self.history:
            for word in event["methods"]:
                asked[word] |= set(range(event["seeds"]))
        missing = {word: sorted(asked[word] - set(self.runs[word])) for word in self.methods}
        return {word: seeds for word, seeds in missing.items() if seeds}


def read_comparison(out: Path) -> Comparison:
    """Read a comparison and all its runs.

    Raises:
        ValueError: `out` is no comparison, or a file in it is damaged; the sentence names it.
    """
    path = out / "comparison.json"
    if not path.is_file():
        why = "which holds no comparison.json" if out.is_dir() else "which is no folder"
        raise ValueError(f"report needs the folder of a comparison; got '{out}', {why}. Write the --out of a compare.")
    record = _json(path, "settings", "methods", "history")
    if not _is_record(record):
        raise _damaged(path, "its methods and its history do not fit together")
    runs: Runs = {word: {} for word in record["methods"]}
    for folder in sorted(out.glob("runs/*/seed*")):
        if unquote(folder.parent.name) in runs:
            run = _run(folder, record["settings"])
            runs[run["method"]][run["seed"]] = run
    _check_test_images(out, runs)
    in_order = {word: dict(sorted(of_method.items())) for word, of_method in runs.items()}
    return Comparison(out.resolve().name, record["settings"], record["methods"], record["history"], in_order)


def _is_record(record: dict[str, Any]) -> bool:
    try:
        asked = [word for event in record["history"] for word in event["methods"]]
        seeds = [event["seeds"] for event in record["history"]]
        return bool(
            record["methods"]
            and set(asked) <= set(record["methods"])
            and all(isinstance(word, str) for word in record["methods"])
            and all(isinstance(number, int) for number in seeds)
            and isinstance(record["settings"], dict)
        )
    except (TypeError, KeyError):
        return False


def _run(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    summary = _json(folder / "summary.json", "method", "seed", "error", "seconds")
    if (summary["method"], f"seed{summary['seed']}") != (unquote(folder.parent.name), folder.name):
        raise _damaged(folder / "summary.json", f"it is of {summary['method']} seed {summary['seed']}")
    run = {**summary, "config": _json(folder / "config.json"), "env": _json(folder / "env.json")}
    differing = [name for name, value in settings.items() if run["config"].get(name, value) != value]
    if differing:
        raise _damaged(folder / "config.json", f"{', '.join(differing)} differ from comparison.json")
    if "failed" in run:
        return run
    for name in ("error", "seconds"):
        if not (isinstance(run[name], int | float) and math.isfinite(run[name])):
            raise _damaged(folder / "summary.json", f"{name} is {run[name]}")
    run["predictions"] = _predictions(folder / "predictions.npy")
    run["epochs"] = _epochs(folder / "metrics.csv", run["config"].get("epochs"))
    return run


def _predictions(path: Path) -> np.ndarray:
    try:
        predictions: np.ndarray = np.load(path, allow_pickle=False)
        has_both = {"target", "predicted"} <= set(predictions.dtype.names or ())
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    if not has_both or predictions.ndim != 1 or not len(predictions):
        raise _damaged(path, "it needs records of target and predicted")
    # A copy without the other columns, which may be large.
    rows = np.empty(len(predictions), dtype=[("target", np.int64), ("predicted", np.int64)])
    rows["target"], rows["predicted"] = predictions["target"], predictions["predicted"]
    return rows


def _epochs(path: Path, number: int | None) -> dict[str, np.ndarray]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in CURVES if rows and name in rows[0]}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise _damaged(path, str(error)) from error
    if not rows or number not in (None, len(rows)):
        raise _damaged(path, f"it has {len(rows)} epochs of {number}")
    return columns


def _check_test_images(out: Path, runs: Runs) -> None:
    """Pairing needs the same test images, in the same order, in every run."""
    complete = [run for of_method in runs.values() for run in of_method.values() if "predictions" in run]
    for run in complete:
        if not np.array_equal(run["predictions"]["target"], complete[0]["predictions"]["target"]):
            first = f"{complete[0]['method']} seed {complete[0]['seed']}"
            raise ValueError(
                f"report needs runs on the same test images; in '{out}' those of {run['method']} seed {run['seed']} "
                f"differ from those of {first}. Delete the folder of the wrong one and run the comparison again."
            )


def _json(path: Path, *keys: str) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error.__cause__ or error)) from error
    if value is None:
        raise _damaged(path, "it is missing")
    absent = [key for key in keys if not isinstance(value, dict) or key not in value]
    if absent or not isinstance(value, dict):
        raise _damaged(path, f"it has no {', '.join(absent)}" if absent else "it is no JSON object")
    return value


def _damaged(path: Path, why: str) -> ValueError:
    repair = (
        "Restore the file from a copy."
        if path.name == "comparison.json"
        else f"Delete the folder '{path.parent}' and run the comparison again: that trains this run anew."
    )
    return ValueError(f"report needs whole files; '{path}' is damaged: {' '.join(why.split())}. {repair}")
