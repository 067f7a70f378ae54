"""A run that is stopped in the middle of an epoch goes on as if it had not been: the same numbers, bit for bit."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from tests.lab.experiments import experiment
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.methods import parse_method
from torchmoments_lab.process import Terminated
from torchmoments_lab.requests import Compare
from torchmoments_lab.training import train as training_module
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.train import Training

# They train.
pytestmark = pytest.mark.slow

# 4 steps an epoch, the last one of 8 images.
TINY = Compare().with_values(train_size=56, epochs=3, batch_size=16, width=4, lr=0.1, augment=True)
STEPS = 4


class Items(torch.utils.data.Dataset):
    """Images read one by one, with a random transform of their own."""

    targets = (0, 1, 2, 3) * 15

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return torch.full((1, 8, 8), index / 60) + torch.rand(1, 8, 8), self.targets[index]


class Pictures(Items):
    def __getitem__(self, index):
        noise = np.random.default_rng(index).integers(0, 255, (12, 12), dtype=np.uint8)
        return Image.fromarray(noise), self.targets[index]


def dropout(num_classes):
    layers = torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.3), torch.nn.Flatten(), torch.nn.Linear(64, num_classes)
    return torch.nn.Sequential(*layers)


def stopped_and_resumed(found, method, stops, folder):
    """The run when it is stopped after each of these steps, and the whole one."""
    fabric = make_fabric(found.training)
    checkpoint = Checkpoint(folder / "state.pt", {})
    with own_random_numbers(fabric.device, 1):
        whole = Training(found, parse_method(method), 1, fabric)
        while whole.epoch < found.epochs:
            assert whole.run_epoch()
        whole = whole.result()
    count, left = 0, list(stops)

    def is_stopping():
        nonlocal count
        count += 1
        return count in left

    while True:
        with own_random_numbers(fabric.device, 1):
            # Whatever came in between is no part of the run.
            torch.rand(7)
            training = Training(found, parse_method(method), 1, fabric)
            training.load(checkpoint)
            while training.epoch < found.epochs:
                if not training.run_epoch(is_stopping):
                    break
            else:
                assert count == STEPS * found.epochs
                return training.result(), whole
            training.save(checkpoint)


@pytest.mark.parametrize("stops", [[1], [2, 3, 7], [4], [8, 9], [12]])
@pytest.mark.parametrize("method", ["cutmix:p=0.7+moex:p=0.7"])
def test_it_is_the_same_wherever_it_is_stopped(tmp_path, stops, method):
    resumed, whole = stopped_and_resumed(experiment(TINY), method, stops, tmp_path)
    assert resumed.epochs == whole.epochs
    assert np.array_equal(resumed.scores, whole.scores)
    assert all(resumed.weights[name].equal(tensor) for name, tensor in whole.weights.items())


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({}, {"data": from_objects(Items(), Items())}),
        ({"loader_workers": 1}, {"data": from_objects(Items(), Items())}),
        ({}, {"data": from_objects(Pictures(), Pictures())}),
        ({"schedule_every": "step", "warmup_epochs": 1, "ema": 0.9}, {}),
        ({"balance": "sampling"}, {}),
        ({"precision": "bf16-mixed", "optimizer": "adamw", "lr": 0.01}, {}),
        ({"augment": False}, {"make_model": dropout}),
    ],
)
def test_it_is_the_same_with_whatever_draws_or_keeps_a_state(tmp_path, settings, more):
    found = experiment(TINY.with_values(**settings), **more)
    method = "moex:norm=in,at=0" if "make_model" in more else "mixup+dsu:p=0.7,at=layer1"
    resumed, whole = stopped_and_resumed(found, method, [3, 6], tmp_path)
    assert resumed.epochs == whole.epochs
    assert np.array_equal(resumed.scores, whole.scores)


@pytest.mark.parametrize(("batch_size", "steps"), [(16, 1), (56, None)])
def test_a_signal_ends_it_after_the_step_whether_it_is_the_last_of_its_epoch_or_not(
    tmp_path, monkeypatch, batch_size, steps
):
    monkeypatch.setattr(training_module, "ending_after_a_step", lambda: nullcontext(lambda: True))
    found, checkpoint = experiment(TINY.with_values(batch_size=batch_size)), Checkpoint(tmp_path / "state.pt", {})
    with pytest.raises(Terminated):
        training_module.train(found, parse_method("none"), 1, checkpoint=checkpoint)
    state = checkpoint.read()
    assert state["epoch"] == (steps is None)
    assert (state["begun"] and state["begun"]["steps"]) == steps


def test_the_seconds_of_an_epoch_are_those_of_its_parts(tmp_path):
    found = experiment(TINY)
    fabric = make_fabric(found.training)
    training, resumed = (Training(found, parse_method("none"), 1, fabric) for _ in range(2))
    assert not training.run_epoch(lambda: True)
    training.begun.seconds += 1000
    checkpoint = Checkpoint(tmp_path / "state.pt", {})
    training.save(checkpoint)
    resumed.load(checkpoint)
    resumed.run_epoch()
    assert 1000 < resumed.seconds[0] < 1060


def test_a_loss_that_is_not_finite_after_it_is_at_the_same_step(tmp_path):
    found = experiment(TINY.with_values(lr=1e30))
    fabric = make_fabric(found.training)
    whole, stopped, resumed = (Training(found, parse_method("none"), 1, fabric) for _ in range(3))
    with pytest.raises(FloatingPointError) as expected:
        whole.run_epoch()
    stopped.run_epoch(lambda: True)
    checkpoint = Checkpoint(tmp_path / "state.pt", {})
    stopped.save(checkpoint)
    resumed.load(checkpoint)
    with pytest.raises(FloatingPointError) as came:
        resumed.run_epoch()
    assert str(came.value) == str(expected.value)


def test_what_is_not_a_whole_state_is_a_damaged_checkpoint(tmp_path):
    found = experiment(TINY)
    training = Training(found, parse_method("moex:at=layer1"), 1, make_fabric(found.training))
    training.run_epoch()
    training.run_epoch(lambda: True)
    checkpoint = Checkpoint(tmp_path / "state.pt", {})
    training.save(checkpoint)
    whole = torch.load(checkpoint.path, weights_only=True)
    state = whole["state"]
    changes = [{"epoch": value} for value in (10**9, -1, 1.0, float("nan"), True, "1", None, [])]
    changes += [{"seconds": []}, {"epochs": [{"epoch": 1}]}, {"model": {}}, {"optimizer": None}]
    changes += [{"order": torch.zeros(3)}, {"ranks": {}}, {"begun": {}}, {"begun": 1}]
    lacking = [{name: value for name, value in state.items() if name != gone} for gone in state if gone != "begun"]
    for wrong in (*(state | change for change in changes), *lacking, [], None, {}):
        torch.save(whole | {"state": wrong}, checkpoint.path)
        with pytest.raises(ValueError, match=r"needs to be whole; '.*state.pt' is not\. Remove it, and start again"):
            training.load(checkpoint)
    torch.save(whole, checkpoint.path)
    training.load(checkpoint)
