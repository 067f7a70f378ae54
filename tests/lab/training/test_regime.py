"""What is left open of a training: from scratch, and from trained weights."""

import pytest

from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.regime import filled


def of(fine_tunes=False, data="folder:x", images=400, **settings):
    given = TrainingSettings(**settings)
    return filled(given, data=data, images=images, fine_tunes=fine_tunes)


def test_from_scratch_it_is_the_training_of_the_papers():
    found = of()
    assert (found.optimizer, found.lr, found.head_lr, found.weight_decay) == ("sgd", 0.1, None, 5e-4)
    assert (found.epochs, found.warmup_epochs, found.schedule_every, found.train_size) == (60, 0, "epoch", 400)
    assert (of(data="digits").epochs, of(data="digits").train_size) == (80, 200)


def test_fine_tuning_is_done_with_adamw():
    found = of(True)
    assert (found.optimizer, found.lr, found.head_lr, found.weight_decay) == ("adamw", 0.001, None, 0.05)
    assert of(True, optimizer="sgd").lr == 0.01


def test_fine_tuning_has_its_own_rates_for_each_optimizer():
    for optimizer in ("sgd", "adamw"):
        found, scratch = of(True, optimizer=optimizer), of(optimizer=optimizer)
        assert found.lr < scratch.lr
        assert (found.warmup_epochs, found.schedule_every) == (found.epochs // 10, "step")


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({}, 38),  # 8 steps each
        ({"train_size": 200}, 75),
        ({"train_size": 200, "batch_size": 10}, 20),
        ({"epochs": 5}, 5),
        ({"min_steps": 1000}, 125),
        ({"epochs": 5, "min_steps": 100}, 13),
        ({"epochs": 50, "min_steps": 100}, 50),
    ],
)
def test_epochs_are_added_until_there_are_so_many_steps(settings, epochs):
    assert of(True, **settings).epochs == epochs


def test_steps_are_a_minimum_from_scratch_too_if_they_are_asked_for():
    assert of(train_size=50, min_steps=100).epochs == 100
    assert of(train_size=50, min_steps=10).epochs == 60


def test_what_is_given_stays_and_filling_in_twice_is_filling_in_once():
    given = {"optimizer": "adamw", "lr": 0.02, "head_lr": 0.03, "weight_decay": 0.0, "warmup_epochs": 2, "epochs": 7}
    found = of(True, **given)
    assert {name: getattr(found, name) for name in given} == given
    assert filled(found, data="folder:x", images=400, fine_tunes=True) == found


def test_a_frozen_body_has_no_rate():
    found = of(True, freeze_body=True)
    assert (found.lr, found.head_lr) == (None, 0.001)
    found.check()
