"""Train with and without a method, paired by seed, in one folder that can be stopped and extended.

OUT/comparison.json     the settings that all runs share; methods and seeds, and when they were added
OUT/runs/METHOD/seed3   see `runs`
OUT/report.html, report.md, summary.json, differences.png, .svg, curves.png, .svg     made of these, see `report`
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joblib import cpu_count

from torchmoments.lab import report
from torchmoments.lab.command import arguments
from torchmoments.lab.config import CompareConfig, nearest
from torchmoments.lab.device import all_devices
from torchmoments.lab.files import read_json, write_json
from torchmoments.lab.lock import hold, refuse_other_settings
from torchmoments.lab.methods import parse_methods
from torchmoments.lab.pool import train_all
from torchmoments.lab.prepare import Notice, prepare, silent
from torchmoments.lab.runs import Run
from torchmoments.lab.task import Task

Progress = Callable[[int, int], None]


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
        What summary.json holds, see `report.summarize`. Runs that failed stand under "failed".

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    task, _ = prepare(config, config.methods, make_model, train, test, notice)
    with _folder(config, task):
        devices = all_devices(config)
        runs = [
            Run.of_comparison(config.out, task, word, seed) for seed in range(config.seeds) for word in config.methods
        ]
        missing = [
            run.on(devices[number % len(devices)])
            for number, run in enumerate(run for run in runs if not run.is_complete())
        ]
        done = len(runs) - len(missing)
        progress(done, len(runs))

        def finished(run: Run, failure: str | None) -> None:
            nonlocal done
            done += 1
            progress(done, len(runs))

        workers = min(config.workers or (cpu_count() if devices == ["cpu"] else len(devices)), max(1, len(missing)))
        train_all(missing, workers, finished)
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


def count_complete(out: Path) -> int:
    """Number of complete runs in a comparison's folder."""
    summaries = [read_json(path) for path in out.glob("runs/*/seed*/summary.json")]
    return sum("failed" not in summary for summary in summaries)


@contextmanager
def _folder(config: CompareConfig, task: Task) -> Iterator[None]:
    """Hold the folder for this process."""
    out = config.out
    lock = hold(out, out / ".lock", known=("comparison.json",), kind="compare")
    try:
        _join(config, task)
        for leftover in out.glob("runs/*/.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def _join(config: CompareConfig, task: Task) -> None:
    """Check that the folder has the same settings, and record what this request adds to it."""
    path = config.out / "comparison.json"
    settings = task.settings()
    before = read_json(path) or {"settings": settings, "methods": [], "seeds": 0, "history": []}
    refuse_other_settings(config.out, before["settings"], settings)
    added = [word for word in config.methods if word not in before["methods"]]
    parse_methods(before["methods"] + added)
    if added or config.seeds > before["seeds"]:
        event = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "methods": list(config.methods),
            "seeds": config.seeds,
            # From Python there is no command.
            "command": None if task.make_model is not None else arguments(config, settings),
        }
        methods = before["methods"] + added
        seeds = max(before["seeds"], config.seeds)
        write_json(
            path, {"settings": settings, "methods": methods, "seeds": seeds, "history": [*before["history"], event]}
        )
