import gc
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from torchmoments.lab.pool import train_all


@dataclass(frozen=True)
class Fatal:
    """Stands for a run whose process is killed each time, as by the system when memory is short."""

    folder: Path
    name: str

    def train(self):
        if self.name == "bad":
            os.kill(os.getpid(), signal.SIGKILL)
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
