"""Rates of body and head, and what a frozen body keeps, seen in the parameters after a step."""

import copy
import math

import pytest
import torch
from torch import nn

from torchmoments_lab.models.head import head_of, start_near_zero
from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.optimizer import freeze_statistics, make_optimizer


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def after_a_step(**settings):
    """(before, after) a step of a loss whose gradient is 1 for every parameter."""
    module = net()
    before = copy.deepcopy(module)
    given = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "nesterov": False} | settings
    optimizer = make_optimizer(module, head_of(module, 3), TrainingSettings(**given))
    sum(parameter.sum() for parameter in module.parameters()).backward()
    optimizer.step()
    return dict(before.named_parameters()), dict(module.named_parameters())


@pytest.mark.parametrize(("head_lr", "of_head"), [(None, 0.1), (0.5, 0.5)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_head_has_its_own_rate(optimizer, head_lr, of_head):
    before, after = after_a_step(optimizer=optimizer, head_lr=head_lr)
    for name, parameter in after.items():
        # The first step of AdamW, too, is the rate times the sign of the gradient.
        rate = of_head if name.startswith("3.") else 0.1
        torch.testing.assert_close(before[name] - parameter, torch.full_like(parameter, rate), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_is_the_optimizers(optimizer):
    module = net()
    settings = TrainingSettings(optimizer=optimizer, lr=0.1, weight_decay=0.5)
    (group, _) = make_optimizer(module, ("3",), settings).param_groups
    assert group["weight_decay"] == 0.5
    assert type(make_optimizer(module, ("3",), settings)).__name__.lower() == optimizer


def test_a_frozen_body_keeps_its_weights_and_its_statistics():
    before, after = after_a_step(freeze_body=True, lr=None, head_lr=0.1)
    assert all(after[name].equal(before[name]) != name.startswith("3.") for name in after)
    module = net()
    module.train()
    freeze_statistics(module, ("3",))
    module(torch.randn(10, 4))
    assert module[1].running_mean.equal(torch.zeros(6))
    assert module.training


def test_the_head_is_the_last_layer_with_an_output_for_each_class_or_those_that_timm_names():
    assert head_of(net(), 3) == ("3",)
    assert head_of(net(), 5) == ()
    module = net()
    module.pretrained_cfg = {"classifier": ("0", "3")}
    module[0] = nn.Linear(4, 3)
    assert head_of(module, 3) == ("0", "3")
    module.pretrained_cfg = {"classifier": "0"}
    assert head_of(module, 3) == ("0",)
    # Its classifier was replaced by another layer.
    module.pretrained_cfg = {"classifier": "fc"}
    assert head_of(module, 3) == ("3",)


def test_a_head_that_starts_near_zero_knows_nothing():
    module = net()
    start_near_zero(module, ("3",))
    assert module[3].bias.equal(torch.zeros(3))
    assert module[3].weight.std().item() == pytest.approx(0.01, rel=0.4)
    loss = nn.functional.cross_entropy(module(torch.randn(50, 4)), torch.randint(3, (50,)))
    assert loss.item() == pytest.approx(math.log(3), abs=0.01)
