"""What is drawn: moments of the right layers, features as colours, images of features."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments_lab.inspect.maps import as_colors, channel_first, images_of, layers, layers_to_draw
from torchmoments_lab.models.small import SmallResNet


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallResNet(3, 10, width=4).eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_place_after_the_stem_and_the_last_of_each_resolution_are_drawn(model, x):
    assert layers_to_draw(model, x, ()) == ["stem", "layer1", "layer2", "layer3"]
    assert layers_to_draw(model, x, ("layer2",)) == ["layer2"]
    with pytest.raises(ValueError, match="Nearest: 'layer"):
        layers_to_draw(model, x, ("layer9",))


def test_a_network_without_maps_is_refused(x):
    with pytest.raises(ValueError, match="no maps to draw"):
        layers_to_draw(nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), x, ())


def test_the_maps_are_mean_and_std_over_the_channels(model, x):
    (layer,) = layers(model, x, ["layer2"])
    with torch.no_grad():
        features = model.layer2(model.layer1(model.stem(x)))
    assert layer.mean.shape == (2, 8, 8)
    for b, i, j in [(0, 0, 0), (1, 7, 3)]:
        values = features[b, :, i, j]
        assert layer.mean[b, i, j] == pytest.approx(float(values.mean()), abs=1e-5)
        assert layer.std[b, i, j] == pytest.approx(float((values.var() + 1e-5).sqrt()), abs=1e-5)


def test_features_that_are_no_maps_are_refused(model, x):
    with pytest.raises(ValueError, match=r"\[B, C, \*positions\]"):
        channel_first(model, x, "fc")


def test_positions_with_the_same_features_have_the_same_colour_and_others_another():
    features = torch.zeros(1, 6, 4, 4)
    features[:, :, :2] = torch.randn(6, generator=torch.Generator().manual_seed(0)).view(1, 6, 1, 1)
    colors = as_colors(features, features)
    assert colors.shape == (1, 3, 4, 4)
    assert 0 <= float(colors.min()) <= float(colors.max()) <= 1
    assert torch.allclose(colors[..., :2, :], colors[..., :1, :1].expand(-1, -1, 2, 4))
    assert (colors[0, :, 0, 0] - colors[0, :, 3, 3]).abs().max() > 0.5


def test_features_of_few_channels_have_colours_too():
    assert as_colors(torch.randn(1, 2, 4, 4), torch.randn(2, 2, 4, 4)).shape == (1, 3, 4, 4)


def test_an_image_is_found_from_its_features():
    torch.manual_seed(0)
    smooth = nn.functional.interpolate(torch.rand(2, 3, 3, 3), (12, 12), mode="bilinear")
    features_of = nn.Conv2d(3, 12, 3, padding=1).requires_grad_(False)
    found = images_of(features_of, features_of(smooth), (3, 12, 12), steps=150)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float((found - smooth).abs().mean()) < 0.3 * float((smooth - 0.5).abs().mean())


def test_the_exchange_that_is_drawn_is_that_of_the_library(x):
    from torchmoments_lab.inspect.inspect import _exchanged

    own, other, normalized, pono, style = _exchanged(x)
    assert torch.equal(own, x[0])
    assert torch.equal(other, x[1])
    assert torch.allclose(normalized, tm.normalize(x[:1], "pono")[0][0])
    for worn, norm in ((pono, "pono"), (style, "in")):
        got, wanted = tm.moments(worn[None], norm), tm.moments(x[1:], norm)
        assert torch.allclose(got.mean, wanted.mean, atol=1e-4)
        assert torch.allclose(got.std, wanted.std, atol=2e-2)
