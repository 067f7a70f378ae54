"""Run folders and comparison.json, read and checked: all that a report says comes from here. Needs no PyTorch."""

import csv
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any, cast

import numpy as np

from torchmoments_lab.differing import differing
from torchmoments_lab.files import damaged, read_json, read_record, runs_folder
from torchmoments_lab.metrics import METRICS, is_defined, of_images
from torchmoments_lab.report.images import RECORD, Images, read_images
from torchmoments_lab.report.runs import Comparison, Event, Plan, RunRecord, Runs
from torchmoments_lab.report.summary import Failure, metric_of
from torchmoments_lab.settings import MOST_SEEDS, Metric, Setting
from torchmoments_lab.typed import counted

# The columns of metrics.csv that a report shows, if they are there.
CURVES = ("loss", "accuracy", "mixed")
# Errors are kept with all digits; an older version found the area under ROC in another way.
_SAME = 1e-4


def read_comparison(out: Path, metrics: Collection[Metric] = METRICS) -> Comparison:
    """Read a comparison and all its runs, with these metrics beside the one that is compared; a run with a damaged file
    counts as failed.

    Raises:
        ValueError: `out` is no comparison, its record is damaged, or its runs do not fit together.
    """
    record = read_comparison_record(out)
    if record is None:
        why = "which holds no comparison.json" if out.is_dir() else "which is no folder"
        repair = "Write the --out of a compare."
        if any((out / name).exists() for name in ("sweep.json", "probe.json")):
            repair = "Rerun the sweep or probe that made it: complete runs are kept."
        raise ValueError(f"report needs the folder of a comparison; got '{out}', {why}. {repair}")
    runs, failed = read_runs(out, record["methods"], record["settings"], metrics)
    history = _history(out / "comparison.json", record)
    images = read_images(out)
    _check_images(out, images, runs)
    return Comparison(out.resolve().name, record["settings"], history, runs, failed, Plan.read(record), images)


def read_runs(
    out: Path,
    methods: Sequence[str],
    settings: Mapping[str, Setting] | None = None,
    metrics: Collection[Metric] = (),
) -> tuple[Runs, tuple[Failure, ...]]:
    """The runs of these methods in OUT/runs, and those that failed; a run with a damaged file counts as failed.

    Args:
        settings: those that all runs need to have.
        metrics: beside the one that is compared.

    Raises:
        ValueError: runs are on different test images.
    """
    runs: dict[str, dict[int, RunRecord]] = {method: {} for method in methods}
    failed = []
    for method in methods:
        folder = runs_folder(out, method)
        numbers = (path.name.removeprefix("seed") for path in folder.glob("seed*"))
        for seed in sorted(int(number) for number in numbers if number.isdecimal()):
            run = read_run(folder / f"seed{seed}", method, seed, settings or {}, metrics)
            if isinstance(run, Failure):
                failed.append(run)
            else:
                runs[method][seed] = run
    _check_test_images(out, [run for of_method in runs.values() for run in of_method.values()])
    return runs, tuple(failed)


def read_comparison_record(out: Path) -> dict[str, Any] | None:
    """What comparison.json holds; None if there is none.

    Raises:
        ValueError: it is damaged; the sentence says which runs are there all the same, and how to go on.
    """
    path = out / "comparison.json"
    try:
        record = read_record(path, settings=dict, methods=list, history=list)
        if record is not None:
            _history(path, record)
            check_settings(path, record["settings"], _first_configs(out, record["methods"]))
    except ValueError as error:
        raise ValueError(f"{error} Complete runs in the folder: {count_complete(out)}.") from error
    return record


def _history(path: Path, record: dict[str, Any]) -> tuple[Event, ...]:
    try:
        events = tuple(
            Event(tuple(event["methods"]), event["seeds"], event.get("time"), tuple(event.get("command") or ()))
            for event in record["history"]
        )
        _need(all(map(_makes_sense, events)) and record["settings"].get("metric", "error") in METRICS, "")
        asked = {method for event in events for method in event.methods}
        if record["methods"] and asked <= set(record["methods"]) and Plan.read(record).fits(record["methods"], events):
            return events
    except (TypeError, LookupError, ValueError, AttributeError):
        pass
    raise damaged(path, "its methods and its history do not fit together")


def check_settings(path: Path, held: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError if runs agree with each other about a setting, and not with the record: that is damaged.

    Args:
        held: the settings of the record.
        configs: what the config.json of some runs hold; one alone may be the wrong one.
    """
    if len(configs) < 2:
        return
    one, *others = configs
    agreed = {name: value for name, value in one.items() if all(c.get(name) == value for c in others)}
    agreed = {name: value for name, value in agreed.items() if name not in ("method", "seed")}
    different = differing({name: held[name] for name in agreed if name in held}, agreed)
    if different:
        raise damaged(path, f"its runs have other settings: {different}")


def _first_configs(out: Path, methods: Sequence[str]) -> list[dict[str, Any]]:
    folders = [runs_folder(out, method) / f"seed{seed}" for method in methods for seed in range(2)]
    return [config for folder in folders if (config := _config(folder / "config.json")) is not None]


def _config(path: Path) -> dict[str, Any] | None:
    try:
        return read_record(path)
    except ValueError:
        return None


def _makes_sense(event: Event) -> bool:
    return (
        type(event.seeds) is int
        and 0 < event.seeds <= MOST_SEEDS
        and isinstance(event.time, str | None)
        and all(isinstance(word, str) for word in (*event.methods, *event.command))
    )


def count_complete(out: Path) -> int:
    """Number of complete runs of a command in its folder; those of a sweep are a folder deeper."""
    return sum(_is_complete(path) for depth in ("", "*/") for path in out.glob(f"{depth}runs/*/seed*/summary.json"))


def _is_complete(path: Path) -> bool:
    try:
        return "failed" not in (read_record(path) or {"failed": ""})
    except ValueError:
        return False


def read_run(
    folder: Path,
    method: str,
    seed: int,
    settings: Mapping[str, Setting] | None = None,
    metrics: Collection[Metric] = (),
) -> RunRecord | Failure:
    """The run in a folder; each file is checked as far as a report uses it. See `read_runs`."""
    path = folder / "summary.json"
    try:
        summary = _record(path)
        _need((summary["method"], summary["seed"]) == (method, seed), f"it is of {summary['method']} {summary['seed']}")
        path = folder / "config.json"
        config = _record(path)
        # An earlier version did not record all.
        different = differing(
            settings or {}, {name: config.get(name, value) for name, value in (settings or {}).items()}
        )
        _need(not different, f"comparison.json has {different}")
        path = folder / "env.json"
        env = _record(path)
        if "failed" in summary:
            return Failure(method, seed, str(summary["failed"]))
        path = folder / "summary.json"
        error, seconds = _number(summary, "error"), _number(summary, "seconds")
        path = folder / "predictions.npy"
        predictions = _load(path)
        _need(predictions.ndim == 1 and len(predictions) > 0, "it has no records")
        _need(bool(np.isfinite(predictions["scores"]).all()), "it has scores that are no numbers")
        classes = predictions["scores"].shape[1]
        for name in ("target", "predicted"):
            _need(bool(((predictions[name] >= 0) & (predictions[name] < classes)).all()), f"its {name} is no class")
        compared = metric_of(config)
        wanted = [metric for metric in METRICS if metric in metrics or metric == compared]
        scores = {
            metric: of_images(metric, predictions) for metric in wanted if is_defined(metric, predictions["target"])
        }
        found = float(scores[compared].mean())
        _need(abs(found - error) < _SAME, f"its error is {found}, and summary.json says {error}")
        # A copy without the probabilities, which may be large.
        rows = np.empty(len(predictions), dtype=[("target", np.int64), ("predicted", np.int64)])
        rows["target"], rows["predicted"] = predictions["target"], predictions["predicted"]
        path = folder / "metrics.csv"
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        # A head that is fitted at once has one line, whatever the epochs.
        number = len(lines) if config.get("quick") else config.get("epochs", len(lines))
        _need(len(lines) == number and number > 0, f"it has {len(lines)} of {counted(number, 'epoch')}")
        epochs = {name: np.array([float(line[name]) for line in lines]) for name in CURVES if name in lines[0]}
        is_curve = bool(config.get("quick")) or all(np.isfinite(values).all() for values in epochs.values())
        _need(is_curve, "it has values that are no numbers")
        return RunRecord(method, seed, seconds, config, env, rows, scores, epochs)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, csv.Error) as error:
        why = "it is missing" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        # The sentence ends where a list of failed runs puts a full stop.
        return Failure(method, seed, str(damaged(path, why)).removesuffix("."))


def _record(path: Path) -> dict[str, Any]:
    record = read_json(path)
    _need(isinstance(record, dict), "it is no JSON object")
    return dict(record)


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record[name]
    _need(type(value) in (int, float) and math.isfinite(value), f"{name} is {short(value)}")
    return float(value)


def _load(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        # NumPy's own sentence recommends to load it unsafely; a header is parsed as Python is, and raises anything.
        raise ValueError("it is no array, or cut short") from error
    # An archive of arrays is opened too.
    _need(isinstance(array, np.ndarray), "it is no array")
    return cast(np.ndarray, array)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _check_images(out: Path, images: Images | None, runs: Runs) -> None:
    # All runs have the same ones.
    run = next((run for of_method in runs.values() for run in of_method.values()), None)
    if images is None or run is None:
        return
    targets = run.predictions["target"]
    if len(targets) != images.number or targets.max() >= len(images.classes):
        raise damaged(out / RECORD, "it is of other test images than the runs")


def _check_test_images(out: Path, runs: Sequence[RunRecord]) -> None:
    """Pairing needs the same test images, in the same order, in every run; those of most runs are taken for right."""
    targets = [run.predictions["target"].tobytes() for run in runs]
    usual = Counter(targets).most_common(1)[0][0] if targets else b""
    for run, own in zip(runs, targets, strict=True):
        if own != usual:
            folder = runs_folder(out, run.method) / f"seed{run.seed}"
            raise ValueError(
                f"report needs runs on the same test images; those in '{folder / 'predictions.npy'}' differ from those "
                f"of {targets.count(usual)} of {len(runs)} runs. Delete the folder '{folder}' and run the command that "
                "made it again."
            )
