"""The epochs of a run while it trains: a CSV file, and TensorBoard's events."""

import threading

import pytest

from tests.lab.experiments import experiment
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare
from torchmoments_lab.runs import Run
from torchmoments_lab.training import train as training
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.epochs import Epoch, EpochLog, last_epoch

TINY = Compare().with_values(train_size=40, epochs=4, batch_size=16, width=4, lr=0.1)
FIRST, SECOND = Epoch(1, 2.5, 10.0, 50.0, 0.1), Epoch(2, 1.25, 20.0, 0.0, 1e-05)


def test_each_epoch_is_a_line_as_soon_as_it_is_over(tmp_path):
    log = EpochLog(tmp_path / "epochs.csv")
    log.begin([])
    assert log.path.read_text() == "epoch,loss,accuracy,mixed,lr\n"
    assert last_epoch(log.path) is None
    log.add(FIRST)
    assert last_epoch(log.path) == FIRST
    log.add(SECOND)
    assert log.path.read_text().splitlines()[1:] == ["1,2.5,10.0,50.0,0.1", "2,1.25,20.0,0.0,1e-05"]
    assert last_epoch(log.path) == SECOND
    log.end()
    assert list(tmp_path.iterdir()) == []
    assert last_epoch(log.path) is None


def test_the_last_epoch_of_a_long_file_is_read_and_half_a_line_is_not(tmp_path):
    path = tmp_path / "epochs.csv"
    log = EpochLog(path)
    log.begin([Epoch(number, 1 / number, 99.0, 0.0, 0.1) for number in range(1, 500)])
    assert last_epoch(path) == Epoch(499, 1 / 499, 99.0, 0.0, 0.1)
    with path.open("a") as file:
        file.write("500,0.2")
    assert last_epoch(path).epoch == 499


def test_the_file_of_a_run_becomes_its_metrics(tmp_path, monkeypatch):
    followed, end = [], EpochLog.end

    def read_first(self, error=None):
        followed.append(self.path.read_bytes())
        end(self, error)

    monkeypatch.setattr(EpochLog, "end", read_first)
    run = Run.of_many(tmp_path, experiment(TINY), parse_method("moex"), 0)
    assert run.train() is None
    assert (run.folder / "metrics.csv").read_bytes() == followed[0]
    assert [path.name for path in run.folder.parent.iterdir() if path.suffix == ".csv"] == []


def test_a_resumed_run_continues_the_file_and_forgets_what_came_after_its_checkpoint(tmp_path):
    found, method = experiment(TINY), parse_method("none")
    checkpoint, log = Checkpoint(tmp_path / "run.pt", {}), EpochLog(tmp_path / "epochs.csv")

    class Stops(EpochLog):
        def add(self, epoch):
            super().add(epoch)
            if epoch.epoch == 2:
                super().add(Epoch(3, 9.0, 9.0, 9.0, 9.0))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(found, method, 0, checkpoint=checkpoint, log=Stops(log.path))
    assert last_epoch(log.path).epoch == 3
    result = training.train(found, method, 0, checkpoint=checkpoint, log=log)
    rows = log.path.read_text().splitlines()[1:]
    assert [int(row.partition(",")[0]) for row in rows] == [1, 2, 3, 4]
    assert last_epoch(log.path) == result.epochs[-1]


def test_tensorboard_gets_the_epochs_and_the_error(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run.of_many(tmp_path, experiment(TINY), parse_method("moex:p=1"), 3, tensorboard=True)
    assert run.events == tmp_path / "tensorboard" / "moex%3Ap=1" / "seed3"
    run.events.mkdir(parents=True)
    (run.events / "events.out.tfevents.1.of.an.earlier.attempt").touch()
    assert run.train() is None
    assert len(list(run.events.iterdir())) == 1
    events = EventAccumulator(str(run.events)).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "accuracy", "lr", "mixed", "error"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert events.Scalars("mixed")[0].value == 100
    assert events.Scalars("error")[0].value == pytest.approx(run.summary()["error"])


@pytest.mark.slow
def test_the_hook_of_threads_is_ours_only_while_tensorboard_writes(tmp_path):
    before = threading.excepthook
    log = EpochLog(tmp_path / "epochs.csv", tmp_path / "events")
    log.begin([])
    assert threading.excepthook is not before
    log.end()
    assert threading.excepthook is before
