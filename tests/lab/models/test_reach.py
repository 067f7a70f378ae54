"""A place that a method's word names is refused if mixing does nothing there; no other is."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments_lab.methods import parse_method
from torchmoments_lab.models.attach import attach, check_effect
from torchmoments_lab.models.reach import changes_after

X = (
    torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    * torch.tensor([1.0, 0.5, 2.0, 1.5])[:, None, None, None]
)


def network(norm):
    """A norm stands behind `before`, and before `after`."""
    torch.manual_seed(0)
    parts = {
        "before": nn.Conv2d(3, 8, 1),
        "norm": norm,
        "after": nn.Conv2d(8, 8, 3),
        "end": nn.Sequential(nn.Flatten()),
    }
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def check(model, word):
    method = parse_method(word)
    site = attach(model, method.always(), X, seed=0)
    draws = [
        draw
        for plan in filter(None, (site.draw(4, groups=[0, 1, 0, 1]) for _ in range(20)))
        for draw in plan.draws.values()
    ]
    site.detach()
    check_effect(model, method, site, [draw for draw in draws if not draw.idle], X)


@pytest.mark.parametrize(
    ("norm", "word"),
    [
        (LayerNorm2d(8), "moex:at=norm"),
        (LayerNorm2d(8), "moex:at=before"),
        (LayerNorm2d(8), "moex:at=after+before,lam=1"),
        (nn.InstanceNorm2d(8), "mixstyle:at=norm"),
        (nn.InstanceNorm2d(8), "crossnorm:at=before"),
        (nn.InstanceNorm2d(8), "padain:at=norm"),
    ],
)
def test_a_norm_right_before_or_after_the_place_is_told(norm, word):
    with pytest.raises(ValueError, match="it changes nothing after '(norm|before)'.*Write a later place"):
        check(network(norm), word)


@pytest.mark.parametrize("place", ["before", "norm", "after"])
@pytest.mark.parametrize(
    "word",
    ["moex", "moex:norm=in", "mixstyle:alpha=0.01", "efdmix", "dsu", "crossnorm", "padain", "random-moments", "labels"],
)
def test_places_where_methods_have_an_effect_are_not_refused(place, word):
    check(network(nn.BatchNorm2d(8)), f"{word}{',' if ':' in word else ':'}at={place}")


def test_equal_images_and_the_last_module_tell_nothing():
    model = network(LayerNorm2d(8))
    equal = X[:1].expand(4, -1, -1, -1)
    assert changes_after(model, "norm", equal, lambda x, _: tm.exchange(x, torch.arange(len(x)).flip(0))) is None
    assert changes_after(model, "end", X, lambda x, _: x) is None


def test_a_request_for_such_a_place_is_refused(refused):
    flags = [
        "--data",
        "digits",
        "--model",
        "timm/test_convnext",
        "--image-size",
        "32",
        "--methods",
        "none",
        "moex:at=stem",
    ]
    assert "method 'moex:at=stem': mixing needs features whose moments differ" in refused("compare", *flags)
