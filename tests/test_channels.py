"""Where the channels are is read from the modules at and around a place."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments.channels import layout_hints


class LayerNorm2d(nn.LayerNorm):
    """Over axis 1, as timm's and torchvision's."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Permute(nn.Module):
    """torchvision's."""

    def __init__(self, dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.permute(self.dims)


class ChannelsLastBlock(nn.Module):
    """A ConvNeXt block on [B, H, W, C]."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Linear(width, width)

    def forward(self, x):
        return x + self.mlp(self.norm(self.conv(x.movedim(-1, 1)).movedim(1, -1)))


class SqueezeBlock(nn.Module):
    """Squeeze and excitation, with Linear layers, in a block of [B, C, H, W]."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.squeeze = nn.Linear(width, width // 4)
        self.excite = nn.Linear(width // 4, width)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x * self.excite(self.squeeze(x.mean((2, 3))))[:, :, None, None].sigmoid()


class LayerNorm2dNoBias(LayerNorm2d):
    pass


class ChannelsFirstNorm(LayerNorm2d):
    """transformers', whose name says nothing."""

    data_format = "channels_first"


class Parts(nn.Module):
    """Modules whose order in the forward nobody knows."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Formatted(nn.Module):
    def __init__(self, output_fmt):
        super().__init__()
        self.output_fmt = output_fmt
        self.place = nn.Identity()


STEM = nn.Sequential(nn.Conv2d(3, 8, 4, 4), Permute([0, 2, 3, 1]), nn.LayerNorm(8))
CASES = {
    "convolution": (nn.Sequential(nn.Conv2d(3, 8, 3)), "0", (4, 8, 6, 6), {1}),
    "swin's stem": (nn.Sequential(STEM), "0", (4, 6, 6, 8), {-1}),
    "swin's stem, as high as it has channels": (nn.Sequential(STEM), "0", (4, 8, 8, 8), {-1}),
    "permuted back": (nn.Sequential(nn.Linear(4, 8), Permute((0, 3, 1, 2))), "1", (4, 8, 5, 5), {1}),
    "channels-last block": (nn.Sequential(ChannelsLastBlock(8)), "0", (4, 6, 6, 8), {-1}),
    "block that fits both": (nn.Sequential(ChannelsLastBlock(8)), "0", (4, 8, 6, 8), {1, -1}),
    "squeeze and excitation": (nn.Sequential(SqueezeBlock(8)), "0", (4, 8, 6, 6), {1}),
    "squeeze as wide as the image": (nn.Sequential(SqueezeBlock(8)), "0", (4, 8, 2, 2), {1}),
    "norm over axis 1": (nn.Sequential(LayerNorm2d(8)), "0", (4, 8, 6, 8), {1}),
    "behind a norm": (nn.Sequential(nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Linear(6, 2)), "1", (4, 8, 6, 6), {1}),
    "identity before a LayerNorm": (nn.Sequential(nn.Identity(), nn.LayerNorm(8)), "0", (4, 6, 6, 8), {-1}),
    "nothing that tells": (nn.Sequential(nn.ReLU(), nn.Linear(5, 5)), "0", (4, 8, 6, 6), set()),
    "output_fmt": (Formatted("NHWC"), "place", (4, 6, 6, 8), {-1}),
    "output_fmt of other features": (Formatted("NHWC"), "place", (4, 6, 8), set()),
    "tokens": (nn.Sequential(nn.LayerNorm(8)), "0", (4, 9, 8), {-1}),
    "sequence": (nn.Sequential(nn.Conv1d(2, 8, 3), nn.ReLU()), "1", (4, 8, 9), {1}),
    "images say nothing of tokens": (nn.Sequential(nn.Conv2d(3, 9, 4), nn.Identity()), "1", (4, 9, 8), set()),
    "a norm over axis 1 by its name": (nn.Sequential(LayerNorm2dNoBias(8)), "0", (4, 8, 8, 8), {1}),
    "a norm over axis 1 by its format": (nn.Sequential(ChannelsFirstNorm(8)), "0", (4, 8, 8, 8), {1}),
    "pooling in a channels-last block": (Parts(norm=nn.LayerNorm(8), pool=nn.MaxPool2d(2)), "pool", (4, 6, 8, 8), {1}),
    "dropout of channels": (Parts(norm=nn.LayerNorm(8), drop=nn.Dropout2d()), "drop", (4, 6, 8, 8), {1}),
    "batch norm of tokens in one axis": (
        nn.Sequential(Parts(linear=nn.Linear(8, 16), norm=nn.BatchNorm1d(16))), "0", (4, 16, 8), {-1}
    ),
    "tokens as many as channels": (
        nn.Sequential(Parts(norm=nn.LayerNorm(8), up=nn.Linear(8, 16))), "0", (4, 16, 8), {-1}
    ),
    "as wide as there are heads": (
        nn.Sequential(Parts(norm=nn.LayerNorm(8), mlp=nn.Linear(8, 8), meta=nn.Linear(2, 3))),
        "0", (4, 8, 3, 3), {1, -1},
    ),
    "channels-last blocks, as high as they have channels": (
        nn.Sequential(Parts(norm=nn.LayerNorm(8), mlp=nn.Linear(8, 8))), "0", (4, 8, 8, 8), {1, -1}
    ),
    "a convolution's own width, not its input's": (
        nn.Sequential(nn.Conv1d(6, 8, 3), Permute((0, 2, 1)), nn.Dropout(), nn.LSTM(8, 4)), "2", (4, 6, 8), {-1}
    ),
    "between both": (nn.Sequential(nn.Conv1d(6, 8, 3), nn.Dropout(), nn.LSTM(8, 4)), "1", (4, 8, 8), {1, -1}),
    "inside a ConvNeXt block": (
        Parts(c=nn.Conv2d(8, 8, 3), n=nn.LayerNorm(8), up=nn.Linear(8, 32), down=nn.Linear(32, 8), drop=nn.Identity()),
        "drop", (4, 8, 32, 32), {1, -1},
    ),
    "a convolution over tokens": (
        Parts(conv=Parts(conv=nn.Conv1d(8, 8, 3)), norm=nn.LayerNorm(8)), "conv", (4, 8, 8), {1, -1}
    ),
    "a projected recurrent layer": (nn.Sequential(nn.LSTM(3, 8, proj_size=4)), "0", (4, 9, 4), {-1}),
    "a recurrent layer": (nn.Sequential(nn.GRU(3, 4, bidirectional=True, batch_first=True)), "0", (4, 9, 8), {-1}),
    "embedding": (nn.Sequential(nn.Embedding(20, 8), nn.Dropout()), "1", (4, 9, 8), {-1}),
}  # fmt: skip


@pytest.mark.parametrize(("model", "place", "shape", "axes"), CASES.values(), ids=CASES)
def test_the_nearest_module_that_fits_says_where_the_channels_are(model, place, shape, axes):
    assert layout_hints(model, place, "output").axes(shape) == axes


def test_the_input_side_looks_at_the_start_of_the_place():
    model = nn.Sequential(nn.Sequential(Permute((0, 3, 1, 2)), nn.Conv2d(8, 4, 3)), nn.Identity(), nn.Flatten())
    assert layout_hints(model, "0", "output").axes((4, 4, 4, 4)) == {1}
    assert layout_hints(model, "0", "input").axes((4, 8, 8, 8)) == {-1}
    assert layout_hints(nn.Sequential(nn.Identity(), model[0]), "0", "output").axes((4, 8, 8, 8)) == {-1}


@pytest.mark.parametrize("seed", range(3))
def test_channels_that_are_last_are_mixed_as_channels(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(STEM, nn.Identity())
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=seed, automatic=False)
    x = torch.randn(4, 3, 24, 24)
    plain = model(x)
    with site.mixing(4) as plan:
        mixed = model(x)
        plan.terms  # noqa: B018 - the labels do not matter here
    torch.testing.assert_close(mixed, tm.exchange(plain, plan.draws["0"].partner, channel_dim=-1))


def test_what_the_user_says_goes_before_what_the_modules_say():
    model = nn.Sequential(STEM)
    site = tm.attach(model, tm.MoEx("in", p=1), at="0", channel_dim=1, seed=0, automatic=False)
    x = torch.randn(4, 3, 24, 24)
    plain = model(x)
    with site.mixing(4) as plan:
        mixed = model(x)
        plan.terms  # noqa: B018
    torch.testing.assert_close(mixed, tm.exchange(plain, plan.draws["0"].partner, "in", channel_dim=1))


def raised_by(model, place, x, **arguments):
    site = tm.attach(model, tm.MoEx(p=1), at=place, seed=0, **arguments)
    with pytest.raises(ValueError) as caught, site.mixing(len(x)):
        model(x)
    return str(caught.value)


def test_a_block_that_fits_both_layouts_asks():
    said = raised_by(nn.Sequential(ChannelsLastBlock(8)), "0", torch.randn(4, 8, 6, 8))
    assert "may be [B, C, *positions] or [B, *positions, C]. Say which, with channel_dim=1 or channel_dim=-1." in said


def test_features_of_three_axes_that_nothing_tells_ask():
    said = raised_by(nn.Sequential(nn.Identity()), "0", torch.randn(4, 8, 6))
    assert "[4, 8, 6], which may be [B, C, T] or [B, tokens, C]" in said


class Attention(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.mlp = nn.Linear(8, 8)

    def forward(self, x):
        return self.mlp(self.attention(x, x, x)[0])


def test_as_many_channels_as_samples_before_a_recurrent_layer_are_no_question():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = nn.Conv1d(3, 4, 3), nn.Dropout(0.0)
            self.rnn = nn.LSTM(4, 4)

        def forward(self, x):
            return self.rnn(self.drop(self.conv(x)).permute(2, 0, 1))[0]

    x = torch.randn(4, 3, 9)
    for place, arguments in (("conv", {}), ("drop", {}), ("drop", {"channel_dim": 1})):
        model = Recurrent()
        site = tm.attach(model, tm.MoEx(p=1), at=place, seed=0, **arguments)
        with site.mixing(4) as plan:
            model(x)
            plan.terms  # noqa: B018


@pytest.mark.parametrize("place", ["0", "0.linear2", "1", "1.mlp"])
def test_as_many_positions_as_samples_are_refused_if_the_batch_is_not_first(place):
    def model(batch_first):
        return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first), Attention(batch_first))

    assert "batch_first=False, so samples and positions cannot be told apart" in raised_by(
        model(False), place, torch.randn(4, 4, 8), channel_dim=-1
    )
    first = model(True)
    site = tm.attach(first, tm.MoEx(p=1), at=place, seed=0)
    with site.mixing(4) as plan:
        first(torch.randn(4, 4, 8))
        plan.terms  # noqa: B018


def test_positions_before_samples_are_another_number_of_samples():
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=False))
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    with pytest.raises(ValueError, match=r"plan is for 4 samples.*'0' have 6.*the batch first"), site.mixing(4):
        model(torch.randn(6, 4, 8))


timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place", "size", "axes"),
    [
        ("resnet18", "maxpool", 64, {1}),
        ("convnext_tiny", "features.0", 64, {1}),
        ("convnext_tiny", "features.1", 64, {1}),
        ("swin_t", "features.0", 64, {-1}),
        ("swin_t", "features.1", 64, {-1}),
        ("vit_b_16", "encoder.layers.encoder_layer_0", 224, {-1}),
        ("densenet121", "features.pool0", 64, {1}),
        ("mobilenet_v3_small", "features.1", 64, {1}),
        ("timm/swin_tiny_patch4_window7_224", "patch_embed", 224, {-1}),
        ("timm/swin_tiny_patch4_window7_224", "layers.0", 224, {-1}),
        ("timm/convnext_atto", "stem", 64, {1}),
        ("timm/convnext_atto", "stages.0", 64, {1}),
        ("timm/vit_tiny_patch16_224", "patch_embed", 224, {-1}),
        ("timm/vit_tiny_patch16_224", "blocks.0", 224, {-1}),
        ("timm/seresnet18", "layer1", 64, {1}),
        ("timm/mixer_s32_224", "blocks.0", 224, {-1}),
        ("timm/poolformer_s12", "stages.0", 64, {1}),
        ("timm/efficientnet_lite0", "blocks.0", 64, {1}),
    ],
)
def test_networks_of_libraries_tell(name, place, size, axes):
    library, _, timms = name.rpartition("/")
    # Shapes are enough, and weights take a second; but timm before 1.0.21 reads values while it builds.
    with torch.device("cpu" if library else "meta"):
        model = timm.create_model(timms) if library else torchvision.models.get_model(name, weights=None)
        (found,) = [p for p in tm.places(model, torch.randn(2, 3, size, size)) if p.name == place]
    assert layout_hints(model, place, "output").axes(found.shape) == axes
