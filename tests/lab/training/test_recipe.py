"""The parts of a fine-tuning in whole runs: balance, averaging, a frozen body, what is mixed and how long it took."""

import numpy as np
import pytest
import torch

from tests.lab.experiments import experiment
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare
from torchmoments_lab.training import train as training
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.epochs import EpochLog
from torchmoments_lab.training.train import fair_seconds

# They train.
pytestmark = pytest.mark.slow

TINY = Compare().with_values(train_size=40, batch_size=16, width=4, epochs=3)


@pytest.fixture(scope="module")
def unequal():
    """Images of 0 or 1 in every pixel, 30 of one class and 10 of the other."""
    labels = (torch.arange(40) % 4 == 0).long()
    split = Split((labels[:, None, None, None] + 0.1 * torch.randn(40, 1, 8, 8)), labels)
    return Data(split, split, ("many", "few"), is_normalized=True)


def run(config, data, spec="none", seed=0, checkpoint=None):
    return training.train(experiment(config, data=data), parse_method(spec), seed, checkpoint=checkpoint)


@pytest.mark.parametrize(("balance", "share"), [("none", 0.25), ("weights", 0.25), ("sampling", 0.5)])
def test_balanced_sampling_shows_each_class_as_often(unequal, monkeypatch, balance, share):
    seen = []
    step = training.step

    def watched(model, criterion, site, x, y, *more):
        seen.append(y)
        return step(model, criterion, site, x, y, *more)

    monkeypatch.setattr(training, "step", watched)
    run(TINY.with_values(balance=balance, epochs=20), unequal)
    labels = torch.cat(seen)
    assert len(labels) == 20 * 40
    assert labels.double().mean().item() == pytest.approx(share, abs=0.06)


def test_class_weights_change_what_is_learned_and_nothing_else(unequal):
    plain, weighted = (run(TINY.with_values(balance=way), unequal) for way in ("none", "weights"))
    assert plain.epochs[0].loss != weighted.epochs[0].loss
    assert plain.scores[:, 1].mean() < weighted.scores[:, 1].mean()


def test_the_average_is_what_is_tested_and_kept_and_the_training_is_the_same(unequal):
    plain, averaged = (run(TINY.with_values(ema=ema), unequal) for ema in (None, 0.9))
    assert plain.epochs == averaged.epochs
    assert not np.array_equal(plain.scores, averaged.scores)
    assert not plain.weights["fc.weight"].equal(averaged.weights["fc.weight"])
    assert plain.weights.keys() == averaged.weights.keys()


@pytest.mark.parametrize("settings", [{"ema": 0.9}, {"balance": "sampling"}, {"optimizer": "adamw", "lr": 0.01}])
def test_a_run_goes_on_after_an_epoch_to_the_same_weights(unequal, tmp_path, settings):
    config = TINY.with_values(**settings)
    whole = run(config, unequal, "moex")
    checkpoint = Checkpoint(tmp_path / "run.pt", {})

    class Stops(EpochLog):
        def add(self, epoch):
            if epoch.epoch == 2:
                raise KeyboardInterrupt

    log = Stops(tmp_path / "epochs.csv")
    with pytest.raises(KeyboardInterrupt):
        training.train(experiment(config, data=unequal), parse_method("moex"), 0, checkpoint=checkpoint, log=log)
    resumed = run(config, unequal, "moex", checkpoint=checkpoint)
    assert resumed.epochs == whole.epochs
    assert all(whole.weights[name].equal(resumed.weights[name]) for name in whole.weights)


def test_a_checkpoint_is_written_as_often_as_it_says(unequal, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoint, "write", lambda self, state: written.append(state["epoch"]))
    run(TINY, unequal, checkpoint=Checkpoint(tmp_path / "often.pt", {}))
    run(TINY, unequal, checkpoint=Checkpoint(tmp_path / "seldom.pt", {}, seconds=60))
    assert written == [1, 2, 3]


def test_a_frozen_body_stays_what_it_was(unequal):
    config = TINY.with_values(freeze_body=True, lr=None)
    before = experiment(config, data=unequal).network.initial(0).module.state_dict()
    after = run(config, unequal, "moex").weights
    changed = {name for name in after if not after[name].equal(before[name])}
    assert changed == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    ("spec", "share"),
    [("none", 0), ("smooth", 0), ("moex:p=1", 100), ("labels:p=1", 100), ("cutmix:p=1", 100), ("moex:p=0.5", 50)],
)
def test_the_share_of_steps_that_were_mixed_is_told(unequal, spec, share):
    epochs = run(TINY.with_values(epochs=20), unequal, spec).epochs
    assert np.mean([epoch.mixed for epoch in epochs]) == pytest.approx(share, abs=15 if share == 50 else 0)


def test_the_first_epoch_is_charged_as_the_others():
    assert fair_seconds([9.0, 1.0, 2.0, 1.5]) == pytest.approx(6.0)
    assert fair_seconds([9.0]) == 9.0
