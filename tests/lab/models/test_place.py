"""The default place is the paper's, after the stem and before the first stage, in every family."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments.lab.config import SubjectConfig
from torchmoments.lab.methods import parse_method
from torchmoments.lab.models import build
from torchmoments.lab.models.place import channel_dim_of, default_place
from torchmoments.lab.training.train import attach

PLACES = {
    "small": "stem",
    "timm/resnet18": "maxpool",
    "timm/convnext_atto": "stem",
    "timm/mobilenetv3_small_050": "bn1",
    "timm/regnetx_002": "stem",
    "timm/levit_128s": "stem",
    "timm/vit_tiny_patch16_224": "norm_pre",
    "torchvision/resnet18": "maxpool",
    "torchvision/densenet121": "features.pool0",
    "torchvision/mobilenet_v3_small": "features.0",
    "torchvision/shufflenet_v2_x0_5": "maxpool",
    "torchvision/squeezenet1_1": "features.0",
    "pytorchcv/resnet110": "features.init_block",
    "pytorchcv/resnext29": "features.init_block",
}


def made(name, size=None):
    """The network for images of this size, its own where None, and two images."""
    built = build(SubjectConfig(model=name, image_size=size), classes=3, channels=3, make_model=None)
    side = size or built.input.size or 32
    return built.module, torch.randn(2, 3, side, side)


@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_the_place_is_the_papers(name, place):
    # Smaller images are faster, where they run.
    model, x = made(name, size=None if "levit" in name or "pytorchcv" in name else 64)
    assert default_place(model, x) == place


def test_finding_the_place_leaves_the_model_as_it_is():
    model, x = made("torchvision/resnet18", 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.layer2.eval()
    state = torch.get_rng_state()
    default_place(model, x)
    channel_dim_of(model, x, ["maxpool"])
    assert torch.get_rng_state().equal(state)
    assert model.training
    assert not model.layer2.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_a_model_without_a_known_stage_asks_for_a_name():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ValueError, match="not found in Sequential. Write it in the method: moex:at=NAME"):
        default_place(model, torch.randn(2, 3, 2, 2))


@pytest.mark.parametrize(
    ("name", "places", "dim"),
    [
        ("timm/vit_tiny_patch16_224", ["norm_pre", "blocks.2"], -1),
        ("timm/swin_s3_tiny_224", ["patch_embed"], -1),
        ("timm/convnext_atto", ["stem", "stages.0"], None),
        ("small", ["stem"], None),
    ],
)
def test_tokens_and_channel_last_features_are_told_apart(name, places, dim):
    model, x = made(name, 64)
    assert channel_dim_of(model, x, places) == dim


def test_moex_on_a_vision_transformer_leaves_the_class_token():
    model, x = made("timm/vit_tiny_patch16_224", 64)
    site = attach(model, parse_method("moex:p=1,partner=derangement"), x, seed=0)
    features = {}
    model.norm_pre.register_forward_hook(lambda module, given, out: features.update(given=given[0], out=out))
    with torch.no_grad(), site.mixing(2):
        model(x)
    given, mixed = features["given"], features["out"]
    assert mixed[:, 0].equal(given[:, 0])
    expected = tm.exchange(given[:, 1:].movedim(2, 1), torch.tensor([1, 0])).movedim(1, 2)
    torch.testing.assert_close(mixed[:, 1:], expected)
