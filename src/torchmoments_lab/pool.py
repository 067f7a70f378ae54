"""Jobs side by side on this machine: one process a core, one thread each.

A worker that dies takes only its own job with it, and a worker ends by itself when its parent is gone.
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
from typing import NamedTuple, Self

import cloudpickle
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from torchmoments_lab import worker
from torchmoments_lab.files import naming, temporary_folder
from torchmoments_lab.jobs import Finished, Job, Started
from torchmoments_lab.process import signals_held_back
from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.device import all_devices

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")


class Processes:
    """A process for each core, or for each GPU; or this process itself, if one at a time is enough.

    Args:
        training: for its device.
        workers: at a time. None: one for each core; on GPUs one for each.

    Raises:
        ValueError: this machine has no such device.
    """

    def __init__(self, training: TrainingSettings, workers: int | None) -> None:
        self._devices = all_devices(training)
        self._workers = workers or (cpu_count() if self._devices == ["cpu"] else len(self._devices))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def at_once(self, jobs: int) -> int:
        return min(self._workers, max(1, jobs))

    def where(self, at_once: int) -> str:
        return " and ".join(self._devices[:at_once])

    def takes_as_long_as_here(self, at_once: int) -> bool:
        # Other processes get the GPUs: this one stays away from them.
        return at_once == 1 or self._devices == ["cpu"]

    def train(self, jobs: Sequence[Job], started: Started, finished: Finished) -> None:
        """Do the jobs. On any exception the processes are killed at once."""
        jobs = [job.on(self._devices[number % len(self._devices)]) for number, job in enumerate(jobs)]
        train_all(jobs, self.at_once(len(jobs)), finished, started)


def train_all(jobs: Sequence[Job], workers: int, finished: Finished, started: Started = lambda job: None) -> None:
    """Train the jobs, at most `workers` at a time; see `jobs.Executor`."""
    if workers == 1:
        for job in jobs:
            started(job)
            finished(job, job.train())
        return
    with _in_a_file(jobs) as path:
        waiting = deque(range(len(jobs)))

        def begun(number: int) -> None:
            started(jobs[number])

        def done(number: int, reason: str | None) -> None:
            finished(jobs[number], reason)

        while waiting:
            # The pool does not say whose worker died. Each job that was training gets a second chance, alone.
            for number in _train_until_a_worker_dies(path, waiting, workers, begun, done).running:
                death = _train_until_a_worker_dies(path, deque([number]), 1, begun, done)
                if death.running:
                    reason = f"its worker process died {cause_of_death(death.exit_code)}"
                    jobs[number].record_failure(reason)
                    done(number, reason)


@contextmanager
def _in_a_file(jobs: Sequence[Job]) -> Iterator[Path]:
    """The jobs in a file while the block runs. What they share, such as data, is in it once, and read once by a worker.

    Raises:
        ValueError: they cannot be pickled.
    """
    with temporary_folder() as folder:
        path = folder / "jobs.pickle"
        with naming(path), path.open("wb") as file:
            try:
                cloudpickle.dump(list(jobs), file)
            except OSError:
                raise
            except Exception as error:
                raise ValueError(worker.not_picklable(error)) from error
        yield path


@contextmanager
def _safe_path() -> Iterator[None]:
    """Processes that are started in the block find modules where this one does, and not in the current folder before
    that: `random.py` in a folder of data would be run in place of Python's."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


class _Death(NamedTuple):
    """The jobs that were training when a worker died, [] if none did; and how it ended, if it was the only one."""

    running: list[int]
    exit_code: int | None = None


@_safe_path()
def _train_until_a_worker_dies(
    path: Path,
    waiting: deque[int],
    workers: int,
    started: Callable[[int], None],
    finished: Callable[[int, str | None], None],
) -> _Death:
    """Take jobs from `waiting`, by their numbers in the file, until it is empty."""
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
                started(number)
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


def cause_of_death(exit_code: int | None) -> str:
    """What the exit code of a process tells of its end: below 0, the signal."""
    if exit_code is None or exit_code >= 0:
        return f"with exit code {exit_code}"
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    if name == "SIGKILL":
        return "of SIGKILL: it was killed, or out of memory"
    return f"of {name}" + (": a crash in compiled code" if name in _CRASHES else "")
