"""Train with and without a method, paired by seed, in one folder that can be stopped and extended.

OUT/comparison.json     the settings that all runs share; methods and seeds, and when they were added
OUT/runs/METHOD/seed3   see `runs`
OUT/report.html, report.md, summary.json, differences.png, .svg, curves.png, .svg     made of these, see `report`
"""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torchmoments.lab.command import arguments
from torchmoments.lab.config import CompareConfig, nearest
from torchmoments.lab.files import read_json, write_json
from torchmoments.lab.lock import refuse_other_settings, working_in
from torchmoments.lab.methods import parse_methods
from torchmoments.lab.pool import Progress, train_missing
from torchmoments.lab.prepare import Notice, prepare, silent
from torchmoments.lab.report import report
from torchmoments.lab.runs import Run
from torchmoments.lab.training.task import Task

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
        make_model, train, test: objects in place of the names in `config`, see `torchmoments.lab.compare`.

    Returns:
        What summary.json holds, see `report.summary`. Runs that failed stand under "failed".

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    task = prepare(config, config.methods, make_model, train, test, notice)
    with working_in(config.out, RECORD, "compare"):
        write_record(config.out / RECORD, joined(config, task))
        train_missing(runs_of(config, task), config, config.workers, progress)
        return report.write(config.out)


def compare_objects(make_model: Callable[..., Any], train: Any, test: Any, **settings: Any) -> dict[str, Any]:
    """`torchmoments.lab.compare`: the same, with objects in place of names."""
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
    return compare(config, make_model=make_model, train=train, test=test)


def runs_of(config: CompareConfig, task: Task) -> list[Run]:
    """All runs that a comparison asks for, seed by seed."""
    return [Run.of_comparison(config.out, task, word, seed) for seed in range(config.seeds) for word in config.methods]


def count_complete(out: Path) -> int:
    """Number of complete runs in a folder and the folders below it."""
    summaries = [read_json(path) for path in out.glob("**/seed*/summary.json")]
    return sum("failed" not in summary for summary in summaries)


def joined(config: CompareConfig, task: Task) -> dict[str, Any]:
    """What the folder's record becomes when this request joins it.

    Raises:
        ValueError: the folder holds runs with other settings, or one of the methods under another word.
    """
    settings = task.settings()
    before: dict[str, Any] = read_json(config.out / RECORD) or {
        "settings": settings,
        "methods": [],
        "seeds": 0,
        "history": [],
    }
    refuse_other_settings(config.out, before["settings"], settings)
    added = [word for word in config.methods if word not in before["methods"]]
    parse_methods(before["methods"] + added)
    asked = {word: [e["seeds"] for e in before["history"] if word in e["methods"]] for word in config.methods}
    if all(config.seeds <= max(seeds, default=0) for seeds in asked.values()):
        return before
    event = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
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


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a folder's record, unless it stands there already."""
    if read_json(path) != record:
        write_json(path, record)
