"""The places that a method has when its word names none."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments_lab.methods import parse_method
from torchmoments_lab.models.attach import attach
from torchmoments_lab.models.small import SmallResNet
from torchmoments_lab.models.stages import stages, usual_places

models = pytest.importorskip("torchvision.models")
timm = pytest.importorskip("timm")
STAGES = ("layer1", "layer2", "layer3", "layer4")
BLOCKS = tuple(f"{stage}.{number}" for stage in STAGES for number in (0, 1))


def pytorchcv(name):
    return pytest.importorskip("pytorchcv.model_provider").get_model(name)


@pytest.mark.slow
@pytest.mark.parametrize("make", [models.resnet18, lambda: timm.create_model("resnet18")], ids=["torchvision", "timm"])
@pytest.mark.parametrize(
    ("mixer", "places"),
    [
        (tm.MoEx(), None),
        (tm.MixStyle(), ("layer1", "layer2")),
        (tm.EFDMix(), ("layer1", "layer2")),
        (tm.DSU(), ("conv1", "maxpool", *STAGES)),
        (tm.CrossNorm(), BLOCKS),
        (
            tm.PermutedAdaIN(),
            ("conv1", *(f"{block}.{conv}" for block in BLOCKS for conv in ("conv1", "conv2"))),
        ),
    ],
)
def test_places_are_those_of_the_source(make, mixer, places):
    assert usual_places(mixer, make()) == places


@pytest.mark.parametrize(
    ("mixer", "places"),
    [
        (tm.MixStyle(), ("layer1", "layer2")),
        (tm.DSU(), ("stem.0", "layer1", "layer2", "layer3")),
        (tm.CrossNorm(), ("layer1", "layer2", "layer3")),
        (tm.PermutedAdaIN(), ("stem.0", *(f"layer{n}.{conv}" for n in (1, 2, 3) for conv in ("conv1", "conv2")))),
    ],
)
def test_places_of_the_labs_network_are_those_of_the_source(mixer, places):
    assert usual_places(mixer, SmallResNet(1, 10)) == places


@pytest.mark.parametrize(
    ("make", "convolutions", "places"),
    [
        (models.resnet50, 53, 49),
        (models.regnet_y_400mf, 85, 81),
        # Also without its transitions.
        (models.densenet121, 120, 117),
        (lambda: timm.create_model("resnet50d"), 55, 51),
        (lambda: timm.create_model("convnext_atto"), 40, 40),
        (lambda: timm.create_model("vit_tiny_patch16_224"), 1, 1),
        (lambda: pytorchcv("resnet20_cifar10"), 21, 19),
        (lambda: pytorchcv("wrn16_10_cifar10"), 16, 13),
        (lambda: pytorchcv("densenet40_k12_cifar10"), 39, 37),
    ],
)
def test_permuted_adain_goes_after_every_convolution_but_those_of_shortcuts(make, convolutions, places):
    network = make()
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convolutions
    found = usual_places(tm.PermutedAdaIN(), network)
    assert {type(network.get_submodule(place)) for place in found} == {nn.Conv2d}
    assert len(found) == places


@pytest.mark.parametrize(
    ("make", "number", "first"),
    [
        (models.resnet50, 16, "layer1.0"),
        (models.regnet_y_400mf, 16, "trunk_output.block1.block1-0"),
        (models.densenet121, 4, "features.denseblock1"),
        (lambda: timm.create_model("convnext_atto"), 12, "stages.0.blocks.0"),
        (lambda: timm.create_model("resnetv2_50"), 16, "stages.0.blocks.0"),
        (lambda: timm.create_model("vit_tiny_patch16_224"), 12, "blocks.0"),
        (lambda: pytorchcv("resnext29_32x4d_cifar10"), 9, "features.stage1.unit1"),
    ],
)
def test_crossnorm_goes_after_every_block(make, number, first):
    places = usual_places(tm.CrossNorm(), make())
    assert len(places) == number
    assert places[0] == first


@pytest.mark.slow
@pytest.mark.parametrize("word", ["mixstyle", "efdmix", "dsu", "crossnorm", "padain"])
def test_every_usual_place_runs(word):
    network, x = models.resnet50(num_classes=3), torch.randn(2, 3, 64, 64)
    site = attach(network, parse_method(f"{word}:p=1"), x, seed=0)
    with site.mixing(2):
        network(x)


def test_a_network_without_stages_is_mixed_after_the_stem():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for mixer in (tm.MixStyle(), tm.DSU(), tm.CrossNorm(), tm.PermutedAdaIN()):
        assert usual_places(mixer, network) is None


def test_a_stage_of_single_layers_is_one_block():
    network = nn.Module()
    network.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    assert usual_places(tm.CrossNorm(), network) == ("layer1",)


def test_stages_are_told_by_their_names_in_common_networks():
    assert stages(models.resnet18()) == list(STAGES)
    assert stages(models.densenet121()) == [f"features.denseblock{n}" for n in (1, 2, 3, 4)]
    assert stages(models.regnet_y_400mf()) == [f"trunk_output.block{n}" for n in (1, 2, 3, 4)]
    assert stages(timm.create_model("convnext_atto")) == ["stages.0", "stages.1", "stages.2", "stages.3"]


def test_the_layers_inside_a_block_are_no_stages():
    """features.1.0.block.0 of torchvision's ConvNeXt and EfficientNet."""
    assert stages(models.convnext_tiny()) == stages(models.efficientnet_b0()) == []
