"""What a step costs, found out before anything is trained."""

import random
import threading
import time

import numpy as np
import pytest
import torch

from tests.lab.experiments import experiment
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare
from torchmoments_lab.training import timing
from torchmoments_lab.training.timing import cost_of
from torchmoments_lab.training.train import train

TINY = Compare().with_values(train_size=40, epochs=2, batch_size=16, width=4, lr=0.1)
NONE = parse_method("none")


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """Measured after all, by one step."""
    monkeypatch.setattr(timing, "MOST_STEPS", 1)


class Slow(torch.nn.Module):
    """A known time for each forward."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        time.sleep(self.seconds)
        return self.fc(x.flatten(1))


def test_a_step_and_a_test_image_cost_what_they_take():
    cost = cost_of(experiment(TINY, make_model=lambda: Slow(0.05)), NONE, seconds=0.5)
    assert cost.step == pytest.approx(0.05, rel=0.5)
    # 500 test images are a batch.
    assert cost.image == pytest.approx(0.05 / 500, rel=0.5)


def test_a_slow_step_is_the_only_one():
    start = time.perf_counter()
    cost = cost_of(experiment(TINY, make_model=lambda: Slow(0.3)), NONE, seconds=0.1)
    assert time.perf_counter() - start < 1.5
    assert cost.step == pytest.approx(0.3, rel=0.5)
    assert cost.image == pytest.approx(cost.step / 16 / 3)


class Draws(torch.nn.Module):
    """Draws from every stream, and notes the number of threads."""

    def __init__(self, threads):
        super().__init__()
        self.threads = threads
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        self.threads.append(torch.get_num_threads())
        noise = torch.rand(1).item() + np.random.rand() + random.random()
        return self.fc(x.flatten(1)) + noise


def test_a_network_that_draws_leaves_every_random_number_and_the_threads_as_they_were():
    threads = []
    found = experiment(TINY, make_model=lambda: Draws(threads))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), torch.get_num_threads()
    more = torch.get_num_threads() + 1
    assert cost_of(found, NONE, threads=more) is not None
    assert set(threads) == {more}
    assert torch.get_rng_state().equal(states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert (random.getstate(), torch.get_num_threads()) == states[2:]


def test_as_many_cores_are_busy_as_will_be():
    mine, seen = threading.active_count(), []

    class Counts(Slow):
        def forward(self, x):
            seen.append(threading.active_count() - mine)
            return super().forward(x)

    assert cost_of(experiment(TINY, make_model=lambda: Counts(0.0)), NONE, at_a_time=3) is not None
    assert max(seen) == 2
    assert threading.active_count() == mine


def test_no_run_changes():
    found = experiment(TINY)
    before = train(found, NONE, 0)
    assert cost_of(found, parse_method("mixup+moex:at=stem")) is not None
    after = train(found, NONE, 0)
    assert before.epochs == after.epochs
    assert np.array_equal(before.scores, after.scores)


@pytest.mark.parametrize("name", ["make_fabric", "Training"])
def test_whatever_goes_wrong_there_is_no_cost_and_no_error(monkeypatch, name):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(timing, name, fail)
    assert cost_of(experiment(TINY), NONE) is None


def test_a_loss_that_is_not_finite_is_no_error():
    assert cost_of(experiment(TINY.with_values(lr=1e30)), NONE) is None
