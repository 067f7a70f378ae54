"""The learning rate of each step, against the formulas of the authors' code written by hand."""

import math

import pytest
import torch

from tests.lab.experiments import experiment
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare
from torchmoments_lab.training import train as training
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.schedule import make_schedule

# 3 steps an epoch.
CONFIG = Compare().with_values(train_size=40, batch_size=16, width=4, epochs=8, lr=0.4, schedule_every="step")
STEPS = 3


@pytest.fixture(scope="module")
def data():
    return experiment(CONFIG).data


def rates(config, data, monkeypatch):
    """The learning rate of each step of a run, and what the run tells of its epochs."""
    seen = []
    step = torch.optim.SGD.step

    def watched(self, *arguments, **options):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", watched)
        result = training.train(experiment(config, data=data), parse_method("none"), 0)
    return seen, [epoch.lr for epoch in result.epochs]


def cosine_of_the_authors(epoch, step, warmup):
    """Of their ImageNet script, with its lowest rate of 1e-9 left out. `step` counts from 1 in each epoch."""
    if epoch < warmup:
        return 0.4 * (step + epoch * STEPS) / (warmup * STEPS)
    t = (epoch - warmup) * STEPS + step - 1
    return 0.4 * 0.5 * (1 + math.cos(math.pi * t / ((8 - warmup) * STEPS)))


@pytest.mark.parametrize("warmup", [0, 2, 5])
def test_by_steps_warm_up_and_cosine_are_those_of_the_authors_imagenet_script(data, monkeypatch, warmup):
    seen, told = rates(CONFIG.with_values(warmup_epochs=warmup), data, monkeypatch)
    expected = [cosine_of_the_authors(epoch, step, warmup) for epoch in range(8) for step in (1, 2, 3)]
    assert seen == pytest.approx(expected)
    assert told == pytest.approx(expected[::STEPS])


@pytest.mark.parametrize(("schedule", "after"), [("constant", [0.4] * 6), ("step", [0.4, 0.4, 0.04, 0.04, 4e-3, 4e-3])])
def test_by_steps_the_other_schedules_follow_the_same_warm_up(data, monkeypatch, schedule, after):
    seen, _ = rates(CONFIG.with_values(schedule=schedule, warmup_epochs=2), data, monkeypatch)
    assert seen == pytest.approx([0.4 * k / 6 for k in range(1, 7)] + [rate for rate in after for _ in range(STEPS)])


def test_the_steps_of_the_cifar_recipe_are_those_of_the_authors_script(data, monkeypatch):
    config = CONFIG.with_values(schedule="step", schedule_every="epoch")
    seen, _ = rates(config, data, monkeypatch)
    formula = [0.4 * 0.1 ** (epoch // (8 * 0.5)) * 0.1 ** (epoch // (8 * 0.75)) for epoch in range(8)]
    assert seen == pytest.approx([rate for rate in formula for _ in range(STEPS)])


def test_by_steps_a_resumed_run_has_the_same_rates(data, tmp_path):
    config, checkpoint = CONFIG.with_values(epochs=4, warmup_epochs=2), Checkpoint(tmp_path / "state.pt", {})
    whole = training.train(experiment(config, data=data), parse_method("moex"), 0)
    fabric = make_fabric(config.training)
    with own_random_numbers(fabric.device, 1):
        first, second = (
            training.Training(experiment(config, data=data), parse_method("moex"), 0, fabric) for _ in range(2)
        )
        first.run_epoch()
        first.save(checkpoint)
        second.load(checkpoint)
        for _ in range(3):
            second.run_epoch()
    assert second.epochs == whole.epochs


def test_a_first_step_that_overflowed_is_not_taken_for_a_mistake(recwarn):
    """A scaler leaves the optimizer's step out, and the learning rate goes on."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.4)
    schedule = make_schedule(CONFIG.with_values(warmup_epochs=1).training, 8, STEPS, optimizer)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.4 * 2 / 3)
    assert not recwarn.list


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_momentum_is_nesterovs_or_the_plain_one(data, monkeypatch, nesterov):
    """Against two steps of SGD by hand: v <- 0.9 v + g, then w <- w - lr (g + 0.9 v), or w - lr v."""
    steps = []
    step = torch.optim.SGD.step

    def watched(self, *arguments, **options):
        (weight,) = [p for p in self.param_groups[0]["params"] if p.shape == (10, 64)]
        before, gradient = weight.detach().clone(), weight.grad.clone()
        result = step(self, *arguments, **options)
        steps.append((before, gradient, weight.detach().clone()))
        return result

    def make_model(num_classes):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))

    config = CONFIG.with_values(schedule="constant", epochs=1, nesterov=nesterov, weight_decay=0.0)
    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    training.train(experiment(config, data=data, make_model=make_model), parse_method("none"), 0)
    velocity = torch.zeros(10, 64)
    for before, gradient, after in steps:
        velocity = 0.9 * velocity + gradient
        moved = gradient + 0.9 * velocity if nesterov else velocity
        torch.testing.assert_close(after, before - 0.4 * moved)
    assert len(steps) == STEPS
