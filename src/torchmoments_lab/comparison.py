"""Train with and without a method, paired by seed, in one folder that can be stopped and extended.

OUT/comparison.json     the settings that all runs share; methods and seeds, and when they were added
OUT/runs/METHOD/seed3   see `runs`
OUT/report.html, report.md, summary.json, differences.png, .svg, curves.png, .svg     made of these, see `report`
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torchmoments_lab.command import arguments
from torchmoments_lab.config import CompareConfig, nearest
from torchmoments_lab.files import read_record, write_record
from torchmoments_lab.lock import RUNS, refuse_other_settings, working_in
from torchmoments_lab.methods import parse_methods
from torchmoments_lab.pool import Progress, train_missing
from torchmoments_lab.prepare import Notice, prepare, silent
from torchmoments_lab.process import ending_in_order
from torchmoments_lab.report import report
from torchmoments_lab.report.reading import read_comparison_record
from torchmoments_lab.runs import Run
from torchmoments_lab.training.task import Task

RECORD = "comparison.json"


def compare(
    config: CompareConfig,
    progress: Progress = lambda done, total: None,
    notice: Notice = silent,
    *,
    make_model: Callable[..., Any] | None = None,
    train: Any = None,
    test: Any = None,
) -> dict[str, Any]:
    """Train what is missing in the folder, and report everything in it.

    Args:
        config: what to train, and where to keep it.
        progress: called with the number of runs done, complete ones of earlier times included, and their total.
        notice: is told what was decided that the settings do not say.
        make_model, train, test: objects in place of the names in `config`, see `torchmoments_lab.compare`.

    Returns:
        What summary.json holds, see `report.summary`. Runs that failed stand under "failed".

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    task = prepare(config, config.methods, make_model, train, test, notice)
    with working_in(config.out, RECORD, "compare"):
        record, runs = joined(config, task), runs_of(config, task)
        missing = [run for run in runs if not run.is_complete()]
        write_record(config.out / RECORD, record)
        train_missing(missing, len(runs), config, config.workers, progress)
        return report.write(config.out)


def compare_objects(make_model: Callable[..., Any], train: Any, test: Any, **settings: Any) -> dict[str, Any]:
    """`torchmoments_lab.compare`: the same, with objects in place of names."""
    if not callable(make_model):
        raise ValueError(
            f"make_model needs a function that gives a new model for each run; got {type(make_model).__name__}. "
            "Write compare(lambda: Net(), ...)."
        )
    named = {"data", "data_dir", "model", "width", "weights", "pretrained"}
    known = [field.name for field in fields(CompareConfig) if field.name not in named]
    for name in settings:
        if name not in known:
            raise ValueError(f"compare has no setting {name!r}. {nearest(name, known)}")
    name = getattr(make_model, "__qualname__", type(make_model).__name__)
    config = CompareConfig(data=f"objects:{type(train).__name__}", model=f"objects:{name}", **settings)
    # There is no terminal to speak to.
    notice = logging.getLogger("torchmoments_lab").warning
    with ending_in_order():
        return compare(config, notice=notice, make_model=make_model, train=train, test=test)


def runs_of(config: CompareConfig, task: Task) -> list[Run]:
    """All runs that a comparison asks for, seed by seed."""
    return [Run.of_comparison(config.out, task, word, seed) for seed in range(config.seeds) for word in config.methods]


def joined(config: CompareConfig, task: Task) -> dict[str, Any]:
    """What the folder's record becomes when this request joins it.

    Raises:
        ValueError: the folder holds runs with other settings, or one of the methods under another word.
    """
    settings = task.settings()
    before = read_comparison_record(config.out) or _record_of_runs(config)
    before = before or {"settings": settings, "methods": [], "seeds": 0, "history": []}
    refuse_other_settings(config.out, before["settings"], settings)
    added = [word for word in config.methods if word not in before["methods"]]
    parse_methods(before["methods"] + added)
    asked = {word: [e["seeds"] for e in before["history"] if word in e["methods"]] for word in config.methods}
    if all(config.seeds <= max(seeds, default=0) for seeds in asked.values()):
        return before
    event = {
        "time": _now(),
        "methods": list(config.methods),
        "seeds": config.seeds,
        # From Python there is no command.
        "command": None if task.make_model is not None else arguments(config, settings),
    }
    return {
        "settings": settings,
        "methods": before["methods"] + added,
        "seeds": max(before["seeds"], config.seeds),
        "history": [*before["history"], event],
    }


def settings_of_runs(out: Path) -> Iterator[dict[str, Any]]:
    """What the config.json of each run in a folder holds."""
    for path in sorted(out.glob(RUNS)):
        config = read_record(path, method=str, seed=int)
        if config is not None:
            yield config


def _record_of_runs(config: CompareConfig) -> dict[str, Any] | None:
    """The record of a folder that has lost its own, as far as the runs tell; None without runs.

    What the methods are compared with is told by the request: the first of its methods that the folder has.
    """
    runs = list(settings_of_runs(config.out))
    if not runs:
        return None
    asked = {word: number for number, word in enumerate(config.methods)}
    methods = sorted({run["method"] for run in runs}, key=lambda word: (asked.get(word, len(asked)), word))
    seeds = 1 + max(run["seed"] for run in runs)
    settings = {name: value for name, value in runs[0].items() if name not in ("method", "seed")}
    history = [{"time": _now(), "methods": methods, "seeds": seeds, "command": None}]
    return {"settings": settings, "methods": methods, "seeds": seeds, "history": history}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
