"""A process that trains jobs for another one: what it does first, where it finds the jobs, and when it ends."""

import os
import pickle
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from torchmoments_lab.process import import_fabric, keep_memory, leave_signals_to_the_parent, without_collector


def start(parent: int) -> None:
    """Leave signals to the parent, end when the parent has ended, however that happened, and import what runs need."""
    leave_signals_to_the_parent()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    keep_memory()
    with without_collector():
        import_fabric()
        import torchmoments_lab.runs  # noqa: F401


def train(path: Path, number: int) -> str | None:
    """Do one of the jobs in a file of `pool.train_all`; returns the reason if it failed.

    Raises:
        ValueError: the file cannot be read in this process.
    """
    reason: str | None = _jobs(path)[number].train()
    return reason


@lru_cache(maxsize=1)
def _jobs(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return pickle.load(file)
    except Exception as error:
        raise ValueError(not_picklable(error)) from error


def not_picklable(error: Exception) -> str:
    """The sentence for jobs that cannot be written for another process, or read there."""
    return f"data and models need to be picklable for several workers; got {error}. Use workers=1."


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)
