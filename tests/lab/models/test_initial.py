"""Which initial weights seeds share, and what that does to pairing and to what a report claims."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from tests.lab.experiments import experiment
from torchmoments_lab.models.initial import initial_of
from torchmoments_lab.requests import Compare

OWN = Compare().with_values(data="digits", model="objects:make_model")


def net(classes=10):
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(128, classes))


TRAINED = net()


def seeded(classes):
    torch.manual_seed(0)
    return net(classes)


def with_a_new_head(classes):
    network = copy.deepcopy(TRAINED)
    network[6] = nn.Linear(128, classes)
    return network


def with_a_fixed_stem(classes):
    network = net(classes)
    network[0].load_state_dict(TRAINED[0].state_dict())
    return network


def from_numpy_and_python(classes):
    network = copy.deepcopy(TRAINED)
    with torch.no_grad():
        network[0].weight.copy_(torch.from_numpy(np.random.randn(4, 1, 3, 3)))
        network[6].bias.fill_(random.random())
    return network


@pytest.mark.parametrize(
    ("make_model", "new"),
    [
        (net, None),
        (seeded, "none"),
        (lambda classes: copy.deepcopy(TRAINED), "none"),
        (lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes).requires_grad_(False)), None),
        (with_a_new_head, "'6'"),
        (with_a_fixed_stem, "'3', '4', '6'"),
        (from_numpy_and_python, "'0', '6'"),
    ],
)
def test_the_layers_that_are_new_for_each_seed_are_found(make_model, new):
    network = experiment(OWN, make_model=lambda num_classes: make_model(num_classes)).network
    initial = initial_of(network, network.initial(0).module)
    assert (str(initial) if initial.same else None) == new


def test_many_layers_are_counted_or_named_by_those_that_are_the_same():
    def make_model(fixed):
        network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)))
        for index in range(fixed):
            nn.init.eye_(network[index].weight)
            nn.init.zeros_(network[index].bias)
        return network

    for fixed, new in ((2, "all but '0', '1'"), (5, "4 of 9 layers"), (7, "'7', '8'")):
        network = experiment(OWN, make_model=lambda fixed=fixed: make_model(fixed)).network
        assert str(initial_of(network, network.initial(0).module)) == new


def of_own_numbers(classes):
    network = net(classes)
    with torch.no_grad():
        network[3].weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=(8, 4, 3, 3))))
    return network


def unseeded(classes):
    torch.seed()
    return net(classes)


@pytest.mark.parametrize("make_model", [of_own_numbers, unseeded])
def test_weights_that_no_seed_decides_are_refused(make_model):
    network = experiment(OWN, make_model=lambda num_classes: make_model(num_classes)).network
    with pytest.raises(ValueError, match="needs the same initial weights for the same seed; two calls gave others, '"):
        initial_of(network, network.initial(0).module)


def test_the_callers_random_numbers_are_as_before():
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    network = experiment(OWN, make_model=lambda: from_numpy_and_python(10)).network
    initial_of(network, network.initial(0).module)
    assert before[0].equal(torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_a_network_of_a_library_is_not_built_for_it():
    assert initial_of(experiment().network, None) is None
