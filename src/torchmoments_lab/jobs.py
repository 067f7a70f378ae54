"""Jobs, such as the runs of a comparison; what carries them out; and where they stand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from torchmoments_lab.training.epochs import Epoch


class Job(Protocol):
    """Train, and write a folder. `runs.Run` is one.

    Attributes:
        name: for a person.
        epochs: in all.
        epochs_file: where the epochs are written while it trains.
    """

    @property
    def name(self) -> str: ...

    @property
    def epochs(self) -> int: ...

    @property
    def epochs_file(self) -> Path: ...

    def on(self, device: str) -> Self:
        """The same on this device."""

    def within(self, folder: Path) -> Self:
        """The same, with all that it writes below this folder."""

    def with_files_read(self) -> Self:
        """The same, without what it would read from the folders of other jobs."""

    def train(self) -> str | None:
        """Do it; returns the reason if it failed."""

    def receive(self, files: Mapping[str, bytes]) -> None:
        """Write what another machine wrote for it: {path below the folder of `within`: content}."""

    def record_failure(self, reason: str) -> None:
        """Write the folder of a job whose process could not."""

    def last_epoch(self) -> "Epoch | None":
        """The last epoch of a job that is training."""

    def outcome(self) -> str:
        """What came of a job that did not fail, in few words."""

    def summary(self) -> dict[str, Any]:
        """The numbers of that, such as the seconds that it took."""


Started = Callable[[Job], None]
Finished = Callable[[Job, str | None], None]


class Executor(Protocol):
    """What carries out jobs: processes of this machine, or a cluster. Entered once, before anything is written."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def at_once(self, jobs: int) -> int:
        """How many of so many jobs are done at a time."""

    def where(self, at_once: int) -> str:
        """Where so many jobs at a time are done: cuda:0 and cuda:1."""

    def takes_as_long_as_here(self, at_once: int) -> bool:
        """Whether this process can measure how long a job takes, if so many are done at a time."""

    def train(self, jobs: Sequence[Job], started: Started, finished: Finished) -> None:
        """Do the jobs; call `started(job)` when one begins, and `finished(job, reason of a failure or None)` after it.

        On any exception, KeyboardInterrupt and `process.Terminated` too, all that is training is killed at once.
        """


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


def train_missing(missing: Sequence[Job], total: int, executor: Executor, watch: Watch, later: int = 0) -> None:
    """Train what is not complete yet.

    Args:
        missing: the jobs that are not complete.
        total: number of jobs, with those of earlier times.
        executor: carries them out.
        watch: called with the progress, first before any job.
        later: number of the others that are not complete, and are trained after these.
    """
    progress = Progress(total - len(missing) - later, total)
    watch(progress)

    def started(job: Job) -> None:
        nonlocal progress
        # One whose process has died gets a second chance.
        others = (other for other in progress.running if other is not job)
        progress = Progress(progress.done, total, (*others, job))
        watch(progress)

    def finished(job: Job, failure: str | None) -> None:
        nonlocal progress
        running = tuple(other for other in progress.running if other is not job)
        progress = Progress(progress.done + 1, total, running, job, failure)
        watch(progress)

    executor.train(missing, started, finished)
