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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self

import cloudpickle
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from torchmoments.lab import worker
from torchmoments.lab.config import TrainConfig
from torchmoments.lab.training.device import all_devices


class Job(Protocol):
    """What a worker does: train, and write a folder. `runs.Run` is one."""

    def on(self, device: str) -> Self:
        """The same on one of several devices."""

    def train(self) -> str | None:
        """Do it; gives the reason where it failed."""

    def record_failure(self, reason: str) -> None:
        """Write the folder of a job whose process could not."""


Finished = Callable[[Job, str | None], None]
Progress = Callable[[int, int], None]


def train_missing(
    missing: Sequence[Job], total: int, config: TrainConfig, workers: int | None, progress: Progress
) -> None:
    """Train what is not complete yet.

    Args:
        missing: the jobs that are not complete.
        total: number of jobs, with those of earlier times.
        config: for its device.
        workers: at a time. None: one for each core; on GPUs one for each.
        progress: called with the number of jobs done, those of earlier times included, and the total.
    """
    devices = all_devices(config)
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

    One worker is this process itself. On any exception, KeyboardInterrupt too, the workers are killed at once.
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
            # The pool does not tell whose worker died. Each run that was training gets a second chance, alone.
            for number in _train_until_a_worker_dies(path, waiting, workers, done):
                if _train_until_a_worker_dies(path, deque([number]), 1, done):
                    reason = "its worker process died: it was killed, or out of memory"
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


def _train_until_a_worker_dies(
    path: Path, waiting: deque[int], workers: int, finished: Callable[[int, str | None], None]
) -> list[int]:
    """Take runs from `waiting`, by their numbers in the file, until it is empty.

    Returns:
        The runs that were training when a worker died, [] if none did.
    """
    training: dict[Future[str | None], int] = {}
    pool = ProcessPoolExecutor(workers, initializer=worker.start, initargs=(os.getpid(),))
    try:
        while waiting or training:
            # Never more than there are workers: what is submitted is what is training.
            while waiting and len(training) < workers:
                number = waiting.popleft()
                with _interrupt_held_back():
                    try:
                        training[pool.submit(worker.train, path, number)] = number
                    except BrokenProcessPool:
                        waiting.appendleft(number)
                        return list(training.values())
            for future in wait(training, return_when=FIRST_COMPLETED).done:
                try:
                    reason = future.result()
                except BrokenProcessPool:
                    return list(training.values())
                finished(training.pop(future), reason)
        return []
    finally:
        with _interrupt_held_back():
            pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Ctrl-C waits until the block ends. Processes started in it never see one: the parent answers, and kills them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
