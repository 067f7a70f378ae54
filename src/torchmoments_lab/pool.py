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
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import cloudpickle
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from torchmoments_lab import worker
from torchmoments_lab.files import naming
from torchmoments_lab.process import signals_held_back
from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.device import all_devices

if TYPE_CHECKING:
    from torchmoments_lab.training.epochs import Epoch


class Job(Protocol):
    """What a worker does: train, and write a folder. `runs.Run` is one.

    Attributes:
        name: for a person.
        epochs: in all.
    """

    @property
    def name(self) -> str: ...

    @property
    def epochs(self) -> int: ...

    def on(self, device: str) -> Self:
        """The same on one of several devices."""

    def train(self) -> str | None:
        """Do it; returns the reason if it failed."""

    def record_failure(self, reason: str) -> None:
        """Write the folder of a job whose process could not."""

    def last_epoch(self) -> "Epoch | None":
        """The last epoch of a job that is training."""

    def outcome(self) -> str:
        """What came of a job that did not fail, in few words."""

    def summary(self) -> dict[str, Any]:
        """The numbers of that, such as the seconds that it took."""


_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
Finished = Callable[[Job, str | None], None]


@dataclass(frozen=True)
class Progress:
    """Where a number of jobs stands; a new one comes when a job starts or ends.

    Args:
        done: number of those that have ended, in earlier times too.
        total: number of all.
        running: those that are training.
        ended: the one that has just ended, if that is what has changed.
        failure: the reason if it failed.
    """

    done: int
    total: int
    running: tuple[Job, ...] = ()
    ended: Job | None = None
    failure: str | None = None


Watch = Callable[[Progress], None]


def unwatched(_progress: Progress) -> None:
    """A progress that nobody looks at."""


def at_once(training: TrainingSettings, workers: int | None, jobs: int) -> int:
    """How many of so many jobs are trained at a time: on GPUs one for each, on the CPU one for each core."""
    devices = all_devices(training)
    return min(workers or (cpu_count() if devices == ["cpu"] else len(devices)), max(1, jobs))


def train_missing(
    missing: Sequence[Job], total: int, training: TrainingSettings, workers: int | None, watch: Watch, later: int = 0
) -> None:
    """Train what is not complete yet.

    Args:
        missing: the jobs that are not complete.
        total: number of jobs, with those of earlier times.
        training: for its device.
        workers: at a time. None: one for each core; on GPUs one for each.
        watch: called with the progress, first before any job.
        later: number of the others that are not complete, and are trained after these.
    """
    devices = all_devices(training)
    jobs = [job.on(devices[number % len(devices)]) for number, job in enumerate(missing)]
    progress = Progress(total - len(jobs) - later, total)
    watch(progress)

    def started(job: Job) -> None:
        nonlocal progress
        # One whose worker has died gets a second chance.
        others = (other for other in progress.running if other is not job)
        progress = Progress(progress.done, total, (*others, job))
        watch(progress)

    def finished(job: Job, failure: str | None) -> None:
        nonlocal progress
        running = tuple(other for other in progress.running if other is not job)
        progress = Progress(progress.done + 1, total, running, job, failure)
        watch(progress)

    train_all(jobs, at_once(training, workers, len(jobs)), finished, started)


def train_all(
    runs: Sequence[Job], workers: int, finished: Finished, started: Callable[[Job], None] = lambda job: None
) -> None:
    """Train the runs, at most `workers` at a time; call `started(job)` before each, and `finished(job, reason of a
    failure or None)` after it.

    One worker is this process itself. On any exception, KeyboardInterrupt and `process.Terminated` too, the workers are
    killed at once.
    """
    if workers == 1:
        for run in runs:
            started(run)
            finished(run, run.train())
        return
    with _in_a_file(runs) as path:
        waiting = deque(range(len(runs)))

        def begun(number: int) -> None:
            started(runs[number])

        def done(number: int, reason: str | None) -> None:
            finished(runs[number], reason)

        while waiting:
            # The pool does not say whose worker died. Each run that was training gets a second chance, alone.
            for number in _train_until_a_worker_dies(path, waiting, workers, begun, done).runs:
                death = _train_until_a_worker_dies(path, deque([number]), 1, begun, done)
                if death.runs:
                    reason = f"its worker process died {cause_of_death(death.exit_code)}"
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
    """The runs that were training when a worker died, [] if none did; and how it ended, if it was the only one."""

    runs: list[int]
    exit_code: int | None = None


@_safe_path()
def _train_until_a_worker_dies(
    path: Path,
    waiting: deque[int],
    workers: int,
    started: Callable[[int], None],
    finished: Callable[[int, str | None], None],
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
