"""Trainings side by side: one process a core, one thread each.

A worker that dies takes only its own run with it, and a worker ends by itself when its parent is gone.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, Self

import cloudpickle
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from torchmoments_lab import worker
from torchmoments_lab.process import signals_held_back
from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.device import all_devices


class Job(Protocol):
    """What a worker does: train, and write a folder. `runs.Run` is one."""

    def on(self, device: str) -> Self:
        """The same on one of several devices."""

    def train(self) -> str | None:
        """Do it; returns the reason if it failed."""

    def record_failure(self, reason: str) -> None:
        """Write the folder of a job whose process could not."""


_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
Finished = Callable[[Job, str | None], None]
Progress = Callable[[int, int], None]


def train_missing(
    missing: Sequence[Job], total: int, training: TrainingSettings, workers: int | None, progress: Progress
) -> None:
    """Train what is not complete yet.

    Args:
        missing: the jobs that are not complete.
        total: number of jobs, with those of earlier times.
        training: for its device.
        workers: at a time. None: one for each core; on GPUs one for each.
        progress: called with the number of jobs done, those of earlier times included, and the total.
    """
    devices = all_devices(training)
    done = total - len(missing)
    progress(done, total)

    def finished(job: Job, failure: str | None) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    at_once = workers or (cpu_count() if devices == ["cpu"] else len(devices))
    jobs = [job.on(devices[number % len(devices)]) for number, job in enumerate(missing)]
    train_all(jobs, min(at_once, max(1, len(jobs))), finished)


def train_all(runs: Sequence[Job], workers: int, finished: Finished) -> None:
    """Train the runs, at most `workers` at a time, and call `finished(job, reason of a failure or None)` after each.

    One worker is this process itself. On any exception, KeyboardInterrupt and `process.Terminated` too, the workers are
    killed at once.
    """
    if workers == 1:
        for run in runs:
            finished(run, run.train())
        return
    with _in_a_file(runs) as path:
        waiting = deque(range(len(runs)))

        def done(number: int, reason: str | None) -> None:
            finished(runs[number], reason)

        while waiting:
            # The pool does not say whose worker died. Each run that was training gets a second chance, alone.
            for number in _train_until_a_worker_dies(path, waiting, workers, done).runs:
                death = _train_until_a_worker_dies(path, deque([number]), 1, done)
                if death.runs:
                    reason = f"its worker process died {_cause(death.exit_code)}"
                    runs[number].record_failure(reason)
                    done(number, reason)


@contextmanager
def _in_a_file(jobs: Sequence[Job]) -> Iterator[Path]:
    """The jobs in a file while the block runs. What they share, such as data, is in it once, and read once by a worker.

    Raises:
        ValueError: they cannot be pickled.
    """
    with TemporaryDirectory(prefix="torchmoments-") as folder:
        path = Path(folder) / "jobs.pickle"
        with path.open("wb") as file:
            try:
                cloudpickle.dump(list(jobs), file)
            except OSError:
                raise
            except Exception as error:
                raise ValueError(worker.not_picklable(error)) from error
        yield path


class _Death(NamedTuple):
    """The runs that were training when a worker died, [] if none did; and how it ended, if it was the only one."""

    runs: list[int]
    exit_code: int | None = None


def _train_until_a_worker_dies(
    path: Path, waiting: deque[int], workers: int, finished: Callable[[int, str | None], None]
) -> _Death:
    """Take runs from `waiting`, by their numbers in the file, until it is empty."""
    training: dict[Future[str | None], int] = {}
    # Each starts a process that watches over semaphores; Python's lets signals through when it does, so it goes first.
    with signals_held_back():
        resource_tracker.ensure_running()
    with signals_held_back():
        pool = ProcessPoolExecutor(workers, initializer=worker.start, initargs=(os.getpid(),))
    try:
        while waiting or training:
            # Never more than there are workers: what is submitted is what is training.
            while waiting and len(training) < workers:
                number = waiting.popleft()
                with signals_held_back():
                    try:
                        training[pool.submit(worker.train, path, number)] = number
                    except BrokenProcessPool:
                        waiting.appendleft(number)
                        return _Death(list(training.values()))
                    # Before the pool forgets them: it does when one has died, and kills the others.
                    processes = list(pool._processes.values())
            for future in wait(training, return_when=FIRST_COMPLETED).done:
                try:
                    reason = future.result()
                except BrokenProcessPool:
                    code = processes[0].exitcode if len(processes) == 1 else None
                    return _Death(list(training.values()), code)
                finished(training.pop(future), reason)
        return _Death([])
    finally:
        with signals_held_back():
            pool.shutdown(wait=True, kill_workers=True)


def _cause(exit_code: int | None) -> str:
    """What the exit code of a process tells of its end: below 0, the signal."""
    if exit_code is None or exit_code >= 0:
        return f"with exit code {exit_code}"
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    if name == "SIGKILL":
        return "of SIGKILL: it was killed, or out of memory"
    return f"of {name}" + (": a crash in compiled code" if name in _CRASHES else "")
