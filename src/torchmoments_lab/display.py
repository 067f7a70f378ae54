"""What is seen of runs while they train, on standard error: a bar on a terminal, plain lines in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from torchmoments_lab.durations import Pace, about, exact
from torchmoments_lab.jobs import Job, Progress
from torchmoments_lab.process import signals_held_back
from torchmoments_lab.typed import visible

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_LINES = 5
# After so long without a line, the epochs of the runs that train are one.
_SECONDS_OF_SILENCE = 60
# On a terminal they are shown after so long without a run that ends.
_SECONDS_OF_A_SHORT_RUN = 10


@dataclass(frozen=True)
class _Sight:
    """What can be seen at one time: the progress, the work done, in runs and parts of runs, and words."""

    progress: Progress
    work: float
    epochs: tuple[str, ...]
    left: str

    @property
    def is_last(self) -> bool:
        return self.progress.done == self.progress.total


class _View(Protocol):
    def start(self) -> None: ...

    def show(self, sight: _Sight) -> None: ...

    def stop(self) -> None: ...


class Display:
    """Shows sentences, and what stands of the runs; it looks again each second, also while a run trains in this
    process."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view: _View = _Bar(console) if console.is_terminal else _Lines(console)
        self._pace = Pace()
        self._progress: Progress | None = None
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._looks = threading.Thread(target=self._look_again_and_again, daemon=True)

    def say(self, sentence: str) -> None:
        """Print a sentence, above the bar if there is one."""
        with self._lock:
            self._console.print(visible(sentence), markup=False, highlight=False)

    def watch(self, progress: Progress) -> None:
        """Show the progress, and what becomes of it."""
        with self._lock:
            is_first, self._progress = self._progress is None, replace(progress, ended=None, failure=None)
            if is_first:
                # In the threads that begin here they stay so: signals are for this one.
                with signals_held_back():
                    self._view.start()
                    self._looks.start()
            self._show(progress)

    def close(self) -> None:
        self._is_over.set()
        if self._progress is not None:
            self._looks.join()
            self._view.stop()

    def _look_again_and_again(self) -> None:
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            # A terminal may have gone.
            with self._lock, suppress(OSError):
                assert self._progress is not None
                self._show(self._progress)

    def _show(self, progress: Progress) -> None:
        training = [(job, epoch) for job in progress.running if (epoch := job.last_epoch()) is not None]
        work = progress.done + sum(epoch.epoch / job.epochs for job, epoch in training)
        seconds = self._pace.left(work, progress.total)
        epochs = [
            f"{visible(job.name)}: epoch {epoch.epoch} of {job.epochs}, loss {epoch.loss:.3g}"
            for job, epoch in training
        ]
        left = "" if seconds is None or progress.done == progress.total else f"{about(seconds)} left"
        self._view.show(_Sight(progress, work, tuple(epochs), left))


@contextmanager
def display(*, quiet: bool = False) -> Iterator[Display]:
    """A display on standard error while the block runs; nothing is shown if it is quiet."""
    shown = Display(Console(stderr=True, quiet=quiet))
    try:
        yield shown
    finally:
        shown.close()


class _Lines:
    """A line for each run that ends, few if they are many; and now and then the epochs of those that train."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()

    def start(self) -> None:
        self._last = time.monotonic()

    def show(self, sight: _Sight) -> None:
        progress, silence = sight.progress, time.monotonic() - self._last
        if progress.ended is not None and (sight.is_last or silence >= _SECONDS_BETWEEN_LINES):
            self._line(progress, *_outcome(progress.ended, progress.failure), sight.left)
        elif sight.epochs and silence >= _SECONDS_OF_SILENCE:
            self._line(progress, "; ".join(sight.epochs), sight.left)

    def stop(self) -> None:
        pass

    def _line(self, progress: Progress, *words: str) -> None:
        count = f"{progress.done:>{len(str(progress.total))}} of {progress.total}"
        line = "  ".join(filter(None, (count, *words)))
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._last = time.monotonic()


class _Bar(RichProgress):
    """A bar, and below it the run that has ended last, or what trains for long."""

    def __init__(self, console: Console) -> None:
        self._ended = ""
        self._last_end = time.monotonic()
        self._below: list[str] = []
        columns = (BarColumn(), TextColumn("{task.description}", markup=False))
        super().__init__(*columns, console=console, transient=True, refresh_per_second=4)
        self._task = self.add_task("")

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        yield from (Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self._below)

    def show(self, sight: _Sight) -> None:
        progress = sight.progress
        if progress.ended is not None:
            name, *outcome = _outcome(progress.ended, progress.failure)
            self._ended = f"{name}: {'  '.join(outcome)}"
            self._last_end = time.monotonic()
        is_long = time.monotonic() - self._last_end > _SECONDS_OF_A_SHORT_RUN
        self._below = [line for line in (self._ended, *(sight.epochs if is_long else ())) if line]
        count = f"{progress.done} of {progress.total} runs" if progress.total > 1 else ""
        words = "  ".join(filter(None, (count, sight.left)))
        self.update(self._task, completed=sight.work, total=progress.total, description=words)


def _outcome(job: Job, failure: str | None) -> list[str]:
    """The job, and what came of it."""
    name = visible(job.name)
    if failure is not None:
        first, *_ = failure.split("\n")
        return [name, f"failed: {visible(first)}"]
    return [name, job.outcome(), exact(job.summary()["seconds"])]
