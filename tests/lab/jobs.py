"""What the tests of the pool have its workers do. Imports no PyTorch, so that such workers start at once."""

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torchmoments_lab.process import leave_signals_to_the_parent


def start_without_imports(parent):
    """In the place of `worker.start`, which imports what trainings need."""
    leave_signals_to_the_parent()


# How a process ends, and what is said of it.
FATAL = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "of SIGKILL: it was killed, or out of memory"),
    "segfault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "of SIGSEGV: a crash in compiled code"),
    "abort": (lambda: os.kill(os.getpid(), signal.SIGABRT), "of SIGABRT: a crash in compiled code"),
    "exit": (lambda: os._exit(3), "with exit code 3"),
}


@dataclass(frozen=True)
class Job:
    """Stands for a run; one with an end of its process has it each time, as when memory is short."""

    folder: Path
    name: str
    end: Callable[[], None] | None = None

    def train(self):
        if self.end is not None:
            self.end()
        (self.folder / self.name).touch()

    def record_failure(self, reason):
        (self.folder / f"{self.name}-failed").write_text(reason)


@dataclass(frozen=True)
class KilledOnce(Job):
    """Its worker is killed from outside, the first time."""

    def train(self):
        if not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().train()


class Unfailing:
    def record_failure(self, reason):
        raise AssertionError(reason)


class CountsWhatTheCollectorLeavesOut(Unfailing):
    def train(self):
        return str(gc.get_freeze_count())


class NotesEachReading:
    """Stands for a large data set: says in a file when a process unpickles it."""

    def __init__(self, file, readable=True):
        self.file, self.readable = file, readable

    def __setstate__(self, state):
        vars(self).update(state)
        if not self.readable:
            raise OSError("no such scanner")
        with self.file.open("a") as file:
            file.write(f"{os.getpid()}\n")


@dataclass(frozen=True)
class OnData(Unfailing):
    data: NotesEachReading

    def train(self):
        return str(os.getpid())


@dataclass(frozen=True)
class Stub:
    """Stands for a run that may be on another machine; its process is killed the first times."""

    folder: Path
    name: str
    killed: int = 0
    there: Path | None = None
    epochs: int = 1

    @property
    def epochs_file(self):
        return (self.there or self.folder) / f"{self.name}.csv"

    def on(self, device):
        return self

    def with_files_read(self):
        return self

    def within(self, folder):
        return replace(self, there=folder)

    def train(self):
        tries = self.folder / f"{self.name}.tries"
        number = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (number + 1))
        if number < self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.there / "result").write_text(self.name)

    def receive(self, files):
        assert files == {"result": self.name.encode()}
        (self.folder / f"{self.name}-received").touch()

    def record_failure(self, reason):
        (self.folder / f"{self.name}-failed").write_text(reason)
