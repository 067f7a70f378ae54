"""The default place is the paper's, after the stem and before the first stage, in every family."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchmoments as tm
from torchmoments_lab.methods import parse_method
from torchmoments_lab.models.attach import attach
from torchmoments_lab.models.network import Network
from torchmoments_lab.models.place import default_place
from torchmoments_lab.settings import ModelSettings

PLACES = {
    "small": "stem",
    "timm/resnet18": "maxpool",
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
    built = Network(ModelSettings(model=name, image_size=size), 3, 3).build()
    side = size or built.input.size or 32
    return built.module, torch.randn(2, 3, side, side)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_the_place_is_the_papers(name, place):
    # Smaller images are faster, where they run.
    model, x = made(name, size=None if "levit" in name or "pytorchcv" in name else 64)
    assert default_place(model, x) == place


# Families in which a LayerNorm stands after the stem, in which blocks change hardly anything at first, or whose first
# stage has a name of its own; and two of the usual ones.
TRIED = [
    "timm/test_convnext",
    "timm/edgenext_xx_small",
    "timm/test_mambaout",
    "timm/pvt_v2_b0",
    "timm/xcit_nano_12_p8_224",
    "timm/test_resnet",
    "torchvision/swin_t",
    "pytorchcv/resnet20_cifar10",
    *(
        pytest.param(name, marks=pytest.mark.thorough)
        for name in (
            "timm/swin_tiny_patch4_window7_224",
            "timm/davit_tiny",
            "timm/focalnet_tiny_srf",
            "timm/pit_ti_224",
            "timm/nest_tiny",
            "timm/twins_svt_small",
            "torchvision/convnext_tiny",
        )
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_an_exchange_at_the_place_changes_features_and_gradients(name):
    torch.manual_seed(0)
    model, x = made(name, 32 if "pytorchcv" in name else 64)
    place = default_place(model, x)
    site = tm.attach(model, tm.MoEx(p=1, partner="derangement"), at=place, seed=0)
    features = []
    model.get_submodule(place).register_forward_hook(lambda module, given, out: features.append(out.detach()))

    def gradient(plan):
        torch.manual_seed(0)
        with site.using(plan):
            loss = F.cross_entropy(model(x), torch.tensor([0, 1]))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    plain, mixed = gradient(None), gradient(site.draw(2))
    assert (features[1] - features[0]).norm() > 1e-3 * features[0].norm()
    assert (mixed - plain).norm() > 1e-3 * plain.norm()


def test_the_place_does_not_depend_on_a_head_that_starts_at_zero():
    torch.manual_seed(0)
    model, x = made("timm/test_convnext", 64)
    place = default_place(model, x)
    nn.init.zeros_(model.head.fc.weight)
    assert place == default_place(model, x) == "stages.3.blocks.0"


def test_a_network_in_which_an_exchange_changes_nothing_asks_for_a_name():
    model = nn.Sequential()
    model.add_module("stem", nn.Sequential(nn.Flatten(2), nn.LayerNorm(16)))
    model.add_module("blocks", nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)))
    with pytest.raises(ValueError, match="changes nothing in Sequential at 'stem', nor .* moex:at=NAME,norm=in"):
        default_place(model, torch.randn(2, 9, 4, 4))


def test_finding_the_place_leaves_the_model_as_it_is():
    model, x = made("torchvision/resnet18", 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.layer2.eval()
    state = torch.get_rng_state()
    default_place(model, x)
    assert torch.get_rng_state().equal(state)
    assert model.training
    assert not model.layer2.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_a_model_without_a_known_stage_asks_for_a_name():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(
        ValueError, match="not found in Sequential. None of its modules gives features; put an nn.Identity"
    ):
        default_place(model, torch.randn(2, 3, 2, 2))
    stem = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 1))
    model = nn.Sequential(stem, nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"as in moex:at=0; torchmoments\.places\(model\) lists all\."):
        default_place(model, torch.randn(2, 3, 2, 2))


class OverTime(nn.Module):
    """Its last part says nothing of its features."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 3)
        self.rest = nn.ModuleDict({"place": nn.Identity(), "end": nn.ReLU()})
        self.weight = nn.Parameter(torch.randn(8, 3))

    def forward(self, x):
        h = F.adaptive_avg_pool1d(self.conv(x), 20).transpose(1, 2)
        return self.rest["end"](self.rest["place"](h)).mean(1) @ self.weight


def test_a_word_says_where_the_channels_are_if_the_network_does_not():
    model, x = OverTime(), torch.randn(4, 1, 32)
    silent = attach(model, parse_method("moex:p=1,at=rest.place"), x, seed=0)
    with pytest.raises(ValueError, match="Say which, with channel_dim=1 or channel_dim=-1"), silent.mixing(4):
        model(x)
    silent.detach()
    with attach(model, parse_method("moex:p=1,at=rest.place,channel_dim=-1"), x, seed=0).mixing(4) as plan:
        model(x)
    assert plan.use.features_were_mixed


def test_labels_alone_are_mixed_whatever_the_features_are():
    model, x = OverTime(), torch.randn(4, 1, 32)
    expected = model(x)
    site = attach(model, parse_method("labels:p=1"), x, seed=0)
    with site.mixing(4) as plan:
        assert model(x).equal(expected)
    assert plan.mixes_labels


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
