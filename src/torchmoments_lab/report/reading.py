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

from torchmoments_lab.files import damaged, read_record

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
    """Read a comparison and all its runs; one with a damaged file counts as failed.

    Raises:
        ValueError: `out` is no comparison, its record is damaged, or its runs do not fit together.
    """
    record = read_comparison_record(out)
    if record is None:
        why = "which holds no comparison.json" if out.is_dir() else "which is no folder"
        raise ValueError(f"report needs the folder of a comparison; got '{out}', {why}. Write the --out of a compare.")
    runs: Runs = {word: {} for word in record["methods"]}
    for folder in sorted(out.glob("runs/*/seed*")):
        word, seed = unquote(folder.parent.name), folder.name.removeprefix("seed")
        if word in runs and seed.isdecimal():
            runs[word][int(seed)] = _run(folder, word, int(seed), record["settings"])
    _check_test_images(out, runs)
    in_order = {word: dict(sorted(of_method.items())) for word, of_method in runs.items()}
    return Comparison(out.resolve().name, record["settings"], record["methods"], record["history"], in_order)


def read_comparison_record(out: Path) -> dict[str, Any] | None:
    """What comparison.json holds; None where there is none.

    Raises:
        ValueError: it is damaged; the sentence says which runs are there all the same, and how to go on.
    """
    path = out / "comparison.json"
    try:
        record = read_record(path, settings=dict, methods=list, history=list)
        if record is not None and not _is_record(record):
            raise damaged(path, "its methods and its history do not fit together")
    except ValueError as error:
        raise ValueError(f"{error} {count_complete(out)} runs in the folder are complete.") from error
    return record


def count_complete(out: Path) -> int:
    """Number of complete runs of a command in its folder; those of a sweep are a folder deeper."""
    return sum(_is_complete(path) for depth in ("", "*/") for path in out.glob(f"{depth}runs/*/seed*/summary.json"))


def _is_complete(path: Path) -> bool:
    try:
        return "failed" not in (read_record(path) or {"failed": ""})
    except ValueError:
        return False


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


def _run(folder: Path, word: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return _whole_run(folder, word, seed, settings)
    except (OSError, ValueError) as error:
        # Its sentence ends where a list of failed runs puts a full stop.
        return {"method": word, "seed": seed, "failed": str(error).removesuffix("."), "env": {}}


def _whole_run(folder: Path, word: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    path = folder / "summary.json"
    summary = _there(path, method=str, seed=int, error=object, seconds=object)
    if (summary["method"], summary["seed"]) != (word, seed):
        raise damaged(path, f"it is of {summary['method']} seed {summary['seed']}")
    run = {**summary, "config": _there(folder / "config.json"), "env": _there(folder / "env.json")}
    differing = [name for name, value in settings.items() if run["config"].get(name, value) != value]
    if differing:
        raise damaged(folder / "config.json", f"{', '.join(differing)} differ from comparison.json")
    if "failed" in run:
        return run
    for name in ("error", "seconds"):
        if not (isinstance(run[name], int | float) and math.isfinite(run[name])):
            raise damaged(path, f"{name} is {run[name]}")
    run["predictions"] = _predictions(folder / "predictions.npy")
    run["epochs"] = _epochs(folder / "metrics.csv", run["config"].get("epochs"))
    return run


def _there(path: Path, **kinds: type) -> dict[str, Any]:
    record = read_record(path, **kinds)
    if record is None:
        raise damaged(path, "it is missing")
    return record


def _predictions(path: Path) -> np.ndarray:
    try:
        predictions: np.ndarray = np.load(path, allow_pickle=False)
        has_both = {"target", "predicted"} <= set(predictions.dtype.names or ())
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise damaged(path, str(error) or type(error).__name__) from error
    if not has_both or predictions.ndim != 1 or not len(predictions):
        raise damaged(path, "it needs records of target and predicted")
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
        raise damaged(path, str(error)) from error
    if not rows or number not in (None, len(rows)):
        raise damaged(path, f"it has {len(rows)} epochs of {number}")
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
