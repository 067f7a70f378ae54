"""Train with and without a method, paired by seed, in one folder that can be stopped and extended.

OUT/comparison.json     the settings that all runs share; methods and seeds, and when they were added
OUT/runs/METHOD/seed3   see `runs`
OUT/summary.json, OUT/differences.png, .svg     made from the run folders, see `report`
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
from joblib import cpu_count

from torchmoments.lab import report
from torchmoments.lab.config import CompareConfig
from torchmoments.lab.data import load
from torchmoments.lab.methods import parse_methods
from torchmoments.lab.pool import train_all
from torchmoments.lab.runs import Run, read_json, write_json
from torchmoments.lab.train import check_method

Progress = Callable[[int, int], None]


def compare(config: CompareConfig, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Train what is missing in the folder, and report everything in it.

    Args:
        config: what to train, and where to keep it.
        progress: called with the number of runs done, complete ones of earlier times included, and their total.

    Returns:
        What summary.json holds, see `report.summarize`. Runs that failed stand under "failed".

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    config.check()
    data = load(config)
    if config.train_size is None:
        config = replace(config, train_size=200 if config.data == "digits" else len(data.train))
    data.subset(config.train_size or 0, seed=0)
    for method in parse_methods(config.methods):
        check_method(config, method, data)
    with _folder(config) as methods:
        runs = [Run(config.out, config, word, seed) for seed in range(config.seeds) for word in config.methods]
        missing = [run for run in runs if not run.is_complete()]
        done = len(runs) - len(missing)
        progress(done, len(runs))

        def finished(run: Run, failure: str | None) -> None:
            nonlocal done
            done += 1
            progress(done, len(runs))

        workers = min(config.workers or cpu_count(), max(1, len(missing)))
        train_all(missing, workers, finished)
        return report.write(config.out, methods)


def count_complete(out: Path) -> int:
    """Number of complete runs in a comparison's folder."""
    summaries = [read_json(path) for path in out.glob("runs/*/seed*/summary.json")]
    return sum("failed" not in summary for summary in summaries)


@contextmanager
def _folder(config: CompareConfig) -> Iterator[list[str]]:
    """Hold the folder for this process; gives the words of all methods in it, the reference first."""
    out = config.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"out needs a folder; got the file '{out}'. Choose another one with --out.")
    known = out.is_dir() and (out / "comparison.json").exists()
    if not known and out.is_dir() and any(path.name != ".lock" for path in out.iterdir()):
        raise ValueError(
            f"out needs a new or empty folder, or that of a comparison; got '{out}', which holds other files. "
            "Choose another one with --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"out needs a folder that nobody is working in; got '{out}', where another comparison is running. "
            "Wait for its end, or choose another one with --out."
        ) from None
    except OSError as error:
        raise ValueError(
            f"out needs a folder that can be written; got '{out}' ({error.strerror}). Choose another one with --out."
        ) from error
    with lock:
        lock.release()
        methods = _join(config)
        for leftover in out.glob("runs/*/.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield methods


def _join(config: CompareConfig) -> list[str]:
    """Check that the folder has the same settings, and record what this request adds to it."""
    path = config.out / "comparison.json"
    settings = config.settings()
    before = read_json(path) or {"settings": settings, "methods": [], "seeds": 0, "history": []}
    differing = [name for name in settings if before["settings"].get(name) != settings[name]]
    if differing:
        held = ", ".join(f"{name} {before['settings'].get(name)}" for name in differing)
        came = ", ".join(f"{name} {settings[name]}" for name in differing)
        raise ValueError(
            f"'{config.out}' holds runs with {held}; got {came}. "
            "Seeds and methods may be added, all else needs to be equal: write the old value, or choose another --out."
        )
    added = [word for word in config.methods if word not in before["methods"]]
    parse_methods(before["methods"] + added)
    if added or config.seeds > before["seeds"]:
        event = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "methods": list(config.methods),
            "seeds": config.seeds,
        }
        methods = before["methods"] + added
        seeds = max(before["seeds"], config.seeds)
        write_json(
            path, {"settings": settings, "methods": methods, "seeds": seeds, "history": [*before["history"], event]}
        )
    return [*before["methods"], *added]
