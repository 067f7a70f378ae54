import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from torchmoments_lab.pool import train_all


@dataclass(frozen=True)
class Fatal:
    """Stands for a run whose process ends each time, as when memory is short or compiled code is wrong."""

    folder: Path
    name: str
    ends_by: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def train(self):
        if self.name == "bad":
            self.ends_by()
        (self.folder / self.name).touch()

    def record_failure(self, reason):
        (self.folder / "failure").write_text(reason)


def test_a_run_that_kills_its_worker_fails_and_the_others_go_on(tmp_path):
    finished = []
    runs = [Fatal(tmp_path, name) for name in ("a", "bad", "b", "c")]
    train_all(runs, 2, lambda run, reason: finished.append((run.name, reason)))
    assert sorted(name for name, reason in finished if reason is None) == ["a", "b", "c"]
    assert [name for name, reason in finished if reason is not None] == ["bad"]
    assert "worker process died" in (tmp_path / "failure").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "failure"}


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("ends_by", "cause"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "of SIGKILL: it was killed, or out of memory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "of SIGSEGV: a crash in compiled code"),
        (os.abort, "of SIGABRT: a crash in compiled code"),
        (lambda: os._exit(3), "with exit code 3"),
    ],
)
def test_a_run_whose_worker_died_says_of_what(tmp_path, capfd, ends_by, cause):
    train_all([Fatal(tmp_path, "bad", ends_by)], 2, lambda run, reason: None)
    assert (tmp_path / "failure").read_text() == f"its worker process died {cause}"


@dataclass(frozen=True)
class CountsWhatTheCollectorLeavesOut:
    folder: Path

    def train(self):
        return str(gc.get_freeze_count())

    def record_failure(self, reason):
        raise AssertionError(reason)


def test_the_collector_of_a_worker_leaves_out_what_was_imported(tmp_path):
    counts, mine = [], gc.get_freeze_count()
    run = CountsWhatTheCollectorLeavesOut(tmp_path)
    train_all([run, run], 2, lambda run, count: counts.append(int(count)))
    assert min(counts) > 100_000
    assert gc.get_freeze_count() == mine


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
class OnData:
    data: NotesEachReading

    def train(self):
        return str(os.getpid())

    def record_failure(self, reason):
        raise AssertionError(reason)


def test_data_that_all_runs_share_is_read_once_by_each_worker(tmp_path):
    data, workers = NotesEachReading(tmp_path / "readings"), set()
    train_all([OnData(data) for _ in range(12)], 2, lambda run, pid: workers.add(pid))
    assert sorted((tmp_path / "readings").read_text().split()) == sorted(workers)


def test_data_that_a_worker_cannot_read_is_refused(tmp_path):
    runs = [OnData(NotesEachReading(tmp_path / "readings", readable=False)) for _ in range(3)]
    with pytest.raises(ValueError, match="picklable for several workers; got no such scanner. Use workers=1"):
        train_all(runs, 2, lambda run, pid: None)
