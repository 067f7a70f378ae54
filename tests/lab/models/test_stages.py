"""The places that a method has when its word names none."""

import pytest
from torch import nn

import torchmoments as tm
from torchmoments.lab.models.stages import stages, usual_places

models = pytest.importorskip("torchvision.models")
STAGES = ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize(
    ("mixer", "places"),
    [
        (tm.MoEx(), None),
        (tm.MixStyle(), ("layer1", "layer2")),
        (tm.EFDMix(), ("layer1", "layer2")),
        (tm.DSU(), ("conv1", *STAGES)),
        (tm.CrossNorm(), STAGES),
    ],
)
def test_places_are_those_of_the_source(mixer, places):
    assert usual_places(mixer, models.resnet18()) == places


def test_permuted_adain_goes_after_every_convolution():
    network = models.resnet18()
    places = usual_places(tm.PermutedAdaIN(), network)
    assert len(places) == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert {type(network.get_submodule(place)) for place in places} == {nn.Conv2d}


def test_a_network_without_stages_is_mixed_after_the_stem():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for mixer in (tm.MixStyle(), tm.DSU(), tm.CrossNorm(), tm.PermutedAdaIN()):
        assert usual_places(mixer, network) is None


def test_stages_are_told_by_their_names_in_common_networks():
    assert stages(models.resnet18()) == list(STAGES)
    assert stages(models.densenet121()) == [f"features.denseblock{n}" for n in (1, 2, 3, 4)]
    timm = pytest.importorskip("timm")
    assert stages(timm.create_model("convnext_atto")) == ["stages.0", "stages.1", "stages.2", "stages.3"]
