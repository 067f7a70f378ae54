"""What the rest of a network gets to see of the features."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments_lab.probe.head import fit_head, pooled
from torchmoments_lab.probe.views import FromPlace, Source, View, check_all_goes_through, pattern

NORMS = ["pono", "in", "ln", "gn2", "gpono2"]


@pytest.fixture
def x():
    return torch.randn(3, 12, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1


@pytest.mark.parametrize("norm", NORMS)
def test_the_moments_view_has_the_moments_of_the_features(x, norm):
    seen, own = (tm.moments(features, norm) for features in (View("moments", norm)(x), x))
    assert torch.allclose(seen.mean, own.mean, atol=1e-6)
    assert torch.allclose(seen.std, own.std, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_the_moments_view_depends_on_nothing_but_the_moments(x, norm):
    own = tm.moments(x, norm)
    noise, _ = tm.normalize(torch.randn_like(x), norm)
    other = tm.denormalize(noise, own)
    assert torch.allclose(View("moments", norm)(other), View("moments", norm)(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_the_normalized_view_depends_on_no_moment(x, norm):
    moved = tm.denormalize(tm.normalize(x, norm)[0], tm.moments(torch.randn_like(x) * 3, norm))
    assert torch.allclose(View("normalized", norm)(moved), View("normalized", norm)(x), atol=1e-3)


def test_the_moments_of_pono_are_seen_as_their_sum_and_their_difference_by_hand(x):
    seen = View("moments", "pono")(x)
    for b, i, j in [(0, 0, 0), (2, 4, 3)]:
        values = [float(v) for v in x[b, :, i, j]]
        mean = sum(values) / 12
        std = (sum((v - mean) ** 2 for v in values) / 11 + 1e-5) ** 0.5
        # +1 and -1 in turn have std sqrt(12 / 11).
        expected = [mean + sign * std / (12 / 11) ** 0.5 for sign in (1, -1) * 6]
        assert seen[b, :, i, j].tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_the_pattern_is_the_same_for_every_image_and_normalized(x, norm):
    s = pattern(x[:1], norm)
    own = tm.moments(s, norm)
    assert s.shape == x[:1].shape
    assert torch.allclose(own.mean, torch.zeros(()).double(), atol=1e-5)
    assert torch.allclose(own.std, torch.ones(()).double(), atol=1e-4)
    assert torch.equal(s, pattern(x[1:2], norm))


@pytest.mark.parametrize("part", ["features", "normalized", "moments"])
def test_channels_last_features_are_seen_as_channel_first_ones(x, part):
    last = View(part, "pono", channel_dim=-1)(x.movedim(1, -1))
    assert torch.allclose(last.movedim(-1, 1), View(part, "pono")(x), atol=1e-6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.late = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)
        self.ran = 0

    def forward(self, x):
        h = self.stem(x)
        self.ran += 1
        return self.late((self.body(h) + h[:, :, 1:-1, 1:-1]).mean((2, 3)))


def test_a_source_gives_the_features_and_stops_there():
    net, x = Net(), torch.randn(2, 1, 6, 6)
    features = Source(net, "stem")(x)
    assert torch.equal(features, net.stem(x))
    assert net.ran == 0
    assert not features.requires_grad
    assert not net.stem._forward_hooks


def test_the_rest_of_the_network_sees_what_it_is_given():
    net, x = Net(), torch.randn(2, 1, 6, 6)
    expected = net(torch.zeros_like(x))
    model = FromPlace(net, "stem", lambda images: net_stem_of_zeros)
    with torch.no_grad():
        net_stem_of_zeros = nn.functional.conv2d(torch.zeros_like(x), net.stem.weight, net.stem.bias)
    assert torch.allclose(model(x), expected)


def test_the_part_before_the_place_gets_no_gradient():
    net, x = Net(), torch.randn(2, 1, 6, 6)
    FromPlace(net, "stem", lambda images: torch.randn(2, 4, 4, 4))(x).sum().backward()
    assert net.stem.weight.grad is None
    assert net.body.weight.grad is not None


def test_a_place_inside_a_residual_branch_is_refused():
    x = torch.randn(3, 1, 6, 6)
    check_all_goes_through(Net().eval(), "stem", x)
    with pytest.raises(ValueError, match="everything goes through; past 'body'"):
        check_all_goes_through(Net().eval(), "body", x)


def test_a_place_without_positions_is_refused():
    with pytest.raises(ValueError, match=r"features \[B, C, \*positions\]; got a tensor \[3, 2\]"):
        Source(Net(), "late")(torch.randn(3, 1, 6, 6))


def test_pooled_moments_are_the_moments_where_they_vary(x):
    own = tm.moments(x, "in")
    assert torch.allclose(pooled(x, View("moments", "in")), torch.cat([own.mean, own.std], 1).flatten(1).float())
    assert pooled(x, View("moments", "pono")).shape == (3, 2 * 4 * 4)
    assert pooled(x, View("features", "pono")).shape == (3, 12 * 4 * 4)
    assert pooled(x.flatten(2), View("features", "pono")).shape == (3, 12 * 4)


def test_a_head_learns_and_knows_of_classes_without_an_image():
    x = torch.randn(60, 3).double().numpy()
    labels = (x[:, 0] > 0).astype(int) * 2
    scores = fit_head(x, labels, x, classes=3)
    assert (scores.argmax(1) == labels).mean() > 0.9
    assert (scores[:, 1] == 0).all()
