"""Strided 1 x 1 convolutions of few channels: no crash, and the same numbers."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchmoments_lab.models.network import Network
from torchmoments_lab.models.strided import SlicedConv2d, make_safe
from torchmoments_lab.settings import ModelSettings

# Memory that is written past its end is noticed when it is freed, at the latest.
STEPS = """
import sys, torch
from torchmoments_lab.models.network import Network
from torchmoments_lab.settings import ModelSettings
torch.set_num_threads(1)
name, width, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
network = Network(ModelSettings(model=name, width=width), 10, 3).build().module
for _ in range(5):
    network(torch.randn(16, 3, size, size)).sum().backward()
"""


@pytest.mark.slow
# The fault is seen below 16 channels from 56 x 56 with AVX-512, and below 8 channels at every size with AVX2.
@pytest.mark.parametrize(("instructions", "width", "size"), [("DEFAULT", 8, 64), ("AVX2", 4, 16)])
@pytest.mark.thorough
def test_a_thin_network_trains_whatever_the_processor(instructions, width, size):
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, "small", str(width), str(size)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_convolution(stride, bias):
    torch.manual_seed(0)
    layout = torch.channels_last
    plain, safe = (nn.Conv2d(12, 24, 1, stride, bias=bias).to(memory_format=layout) for _ in range(2))
    safe.load_state_dict(plain.state_dict())
    make_safe(safe)
    assert type(safe) is SlicedConv2d
    x = torch.randn(8, 12, 9, 9).to(memory_format=layout)
    outcomes = []
    for network in (plain, safe):
        given = x.clone().requires_grad_()
        output = network(given)
        output.square().sum().backward()
        outcomes.append([output.detach(), given.grad, *(parameter.grad for parameter in network.parameters())])
    for expected, got in zip(*outcomes, strict=True):
        torch.testing.assert_close(got, expected)


def test_only_what_is_at_risk_is_computed_in_another_way():
    class Own(nn.Conv2d):
        def forward(self, x):
            return F.relu(super().forward(x))

    network = nn.ModuleDict(
        {
            "thin": nn.Conv2d(8, 16, 1, 2),
            "valid": nn.Conv2d(8, 16, 1, 2, padding="valid"),
            "wide": nn.Conv2d(16, 16, 1, 2),
            "dense": nn.Conv2d(8, 16, 1),
            "large": nn.Conv2d(8, 16, 3, 2),
            "padded": nn.Conv2d(8, 16, 1, 2, padding=1),
            "groups": nn.Conv2d(8, 16, 1, 2, groups=2),
            "own": Own(8, 16, 1, 2),
        }
    )
    make_safe(network)
    assert [name for name, part in network.items() if type(part) is SlicedConv2d] == ["thin", "valid"]


def test_a_network_of_a_library_is_safe_and_a_users_own_stays_as_it_is():
    thin = nn.Sequential(nn.Conv2d(3, 8, 1, 2))
    own = Network(ModelSettings(), 10, 3, lambda: thin).build().module
    assert type(own[0]) is nn.Conv2d
    small = Network(ModelSettings(width=8), 10, 3).build().module
    assert [name for name, part in small.named_modules() if isinstance(part, SlicedConv2d)] == ["layer2.shortcut.0"]
