import gc
import os

import pytest

from tests.lab.jobs import FATAL, CountsWhatTheCollectorLeavesOut, Job, KilledOnce, NotesEachReading, OnData
from tests.lab.jobs import start_without_imports as quick
from torchmoments_lab import worker
from torchmoments_lab.pool import train_all

pytestmark = pytest.mark.slow


@pytest.fixture
def quick_start(monkeypatch):
    monkeypatch.setattr(worker, "start", quick)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.usefixtures("quick_start")
def test_a_run_that_ends_its_worker_fails_and_says_of_what_and_the_others_go_on(tmp_path):
    finished = []
    fatal = [Job(tmp_path, name, end) for name, (end, _) in FATAL.items()]
    first, *others = [Job(tmp_path, name) for name in ("a", "b", "c")]
    runs = [first, *fatal, *others]
    train_all(runs, 2, lambda run, reason: finished.append((run.name, reason)))
    reasons = {name: f"its worker process died {cause}" for name, (_, cause) in FATAL.items()}
    assert len(finished) == len(runs)
    assert dict(finished) == reasons | dict.fromkeys(("a", "b", "c"))
    assert {name: (tmp_path / f"{name}-failed").read_text() for name in FATAL} == reasons
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", *(f"{name}-failed" for name in FATAL)}


@pytest.mark.usefixtures("quick_start")
def test_a_worker_that_is_killed_once_costs_no_run(tmp_path):
    finished = []
    runs = [KilledOnce(tmp_path, "bad"), *(Job(tmp_path, name) for name in ("a", "b", "c"))]
    train_all(runs, 2, lambda run, reason: finished.append((run.name, reason)))
    assert sorted(finished) == [("a", None), ("b", None), ("bad", None), ("c", None)]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "bad", "c", "killed"}


@pytest.mark.thorough
def test_the_collector_of_a_worker_leaves_out_what_was_imported():
    # What other tests have left out may be freed meanwhile.
    gc.unfreeze()
    counts, mine = [], gc.get_freeze_count()
    run = CountsWhatTheCollectorLeavesOut()
    train_all([run, run], 2, lambda run, count: counts.append(int(count)))
    assert min(counts) > 100_000
    assert gc.get_freeze_count() == mine


@pytest.mark.usefixtures("quick_start")
def test_data_that_all_runs_share_is_read_once_by_each_worker(tmp_path):
    data, workers = NotesEachReading(tmp_path / "readings"), set()
    train_all([OnData(data) for _ in range(12)], 2, lambda run, pid: workers.add(pid))
    assert sorted((tmp_path / "readings").read_text().split()) == sorted(workers)


@pytest.mark.usefixtures("quick_start")
def test_data_that_a_worker_cannot_read_is_refused(tmp_path):
    runs = [OnData(NotesEachReading(tmp_path / "readings", readable=False)) for _ in range(3)]
    with pytest.raises(ValueError, match="picklable for several workers; got no such scanner. Use workers=1"):
        train_all(runs, 2, lambda run, pid: None)
