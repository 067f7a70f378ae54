"""Mixing that changes nothing is told once at each place, and nothing else is."""

import copy
import functools
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchmoments as tm
from torchmoments import effect
from torchmoments.effect import NoEffectWarning


def images(batch_size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    styles = torch.rand(2, batch_size, 3, 1, 1, generator=generator)
    return torch.randn(batch_size, 3, 6, 6, generator=generator) * (styles[0] + 0.2) + styles[1]


class LayerNorm2d(nn.LayerNorm):
    """Over axis 1, as timm and torchvision have it."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Centred(nn.Module):
    def forward(self, x):
        return (x - x.mean()) * x


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


def behind(*modules):
    """A network whose place is behind these."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.Sequential(*modules), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 4))


def told(model, mixer, x, steps=1, at="1", **arguments):
    """The warnings of some mixed steps."""
    site = tm.attach(model, mixer, at=at, seed=0, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(steps):
            with site.mixing(len(x)) as plan:
                output = model(x)
            tm.mixed_loss(F.cross_entropy, output, torch.zeros(len(x), dtype=torch.long), plan).backward()
    site.detach()
    assert all(warning.category is NoEffectWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("modules", "mixer"),
    [
        ((LayerNorm2d(16),), tm.MoEx(p=1)),
        ((LayerNorm2d(16),), tm.MoEx(p=1, moment="std", alpha=0.3)),
        ((Tokens(), nn.LayerNorm(16)), tm.MoEx(p=1)),
        ((Tokens(), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)), tm.MoEx(p=1)),
        ((nn.InstanceNorm2d(16),), tm.MoEx("in", p=1)),
        ((nn.InstanceNorm2d(16),), tm.MixStyle(p=1)),
        ((nn.InstanceNorm2d(16),), tm.CrossNorm(p=1)),
        ((nn.InstanceNorm2d(16),), tm.PermutedAdaIN(p=1)),
        ((nn.GroupNorm(2, 16),), tm.MoEx("gn2", p=1)),
        ((nn.GroupNorm(1, 16),), tm.MoEx("ln", p=1)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_moments_are_told_once(modules, mixer, dtype):
    model = copy.deepcopy(behind(*modules)).to(dtype)
    (sentence,) = told(model, mixer, images().to(dtype), steps=3)
    assert f"{type(mixer).__name__} changes nothing at '1'" in sentence


def test_each_place_is_told_of():
    model = behind(LayerNorm2d(16), LayerNorm2d(16))
    sentences = told(model, tm.CrossNorm(p=1, places_per_step=None), images(), at=["1.0", "1.1"])
    assert sentences == []
    model = behind(nn.InstanceNorm2d(16), nn.InstanceNorm2d(16))
    sentences = told(model, tm.CrossNorm(p=1, places_per_step=None), images(), steps=2, at=["1.0", "1.1"])
    assert [place for place in ("'1.0'", "'1.1'") for sentence in sentences if place in sentence] == ["'1.0'", "'1.1'"]


MIXERS = [
    tm.MoEx(p=1),
    tm.MoEx(p=0.1, per_sample=True),
    tm.MoEx("in", p=1, alpha=0.01),
    tm.MixStyle(p=1, alpha=0.01),
    tm.EFDMix(p=1, alpha=0.01),
    tm.DSU(p=1),
    tm.CrossNorm(p=1),
    tm.CrossNorm(p=1, crop="both"),
    tm.PermutedAdaIN(p=1),
    tm.RandomMoments(p=1),
    tm.LabelsOnly(p=1),
]


@pytest.mark.slow
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_usual_features_are_no_reason_to_warn(mixer, batch_size):
    for seed in range(10):
        model = behind(nn.BatchNorm2d(16))
        assert told(model, mixer, images(batch_size, seed), steps=3) == []


@pytest.mark.parametrize("mixer", MIXERS)
def test_equal_images_and_features_that_start_at_zero_are_no_reason_to_warn(mixer):
    model = behind(nn.BatchNorm2d(16))
    assert told(model, mixer, images(1).expand(8, -1, -1, -1), steps=3) == []
    nn.init.zeros_(model[1][0].weight)
    nn.init.zeros_(model[1][0].bias)
    assert told(model, mixer, images(), steps=3) == []


def test_maps_of_one_pixel_that_permuted_adain_leaves_alone_are_no_reason_to_warn():
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 16, 1), nn.Flatten(), nn.Linear(16, 4))
    assert told(model, tm.PermutedAdaIN(p=1), images(), steps=3) == []


def test_the_values_of_padding_do_not_count():
    torch.manual_seed(0)
    place, mask = nn.Identity(), torch.ones(4, 10, dtype=torch.bool)
    mask[:, 5:] = False
    x = torch.randn(4, 16, 10) * torch.rand(4, 1, 1)
    x[:, :, 5:] = 1e9 * torch.randn(4, 1, 5)
    for features, number in ((x, 0), (F.layer_norm(x.movedim(1, 2), [16]).movedim(2, 1), 1)):
        model = nn.Sequential(place)
        site = tm.attach(model, tm.MoEx(p=1), at="0", channel_dim=1, seed=0)
        with warnings.catch_warnings(record=True) as caught, site.using(site.draw(4), mask=mask):
            warnings.simplefilter("always")
            model(features)
        site.detach()
        assert len(caught) == number


@pytest.mark.parametrize("first", ["equal images", "zeros"])
def test_a_later_batch_tells_what_the_first_one_could_not(first):
    model = behind(nn.InstanceNorm2d(16, affine=True))
    norm = model[1][0]
    site = tm.attach(model, tm.MixStyle(p=1), at="1", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoEffectWarning)
        nn.init.constant_(norm.weight, float(first != "zeros"))
        with site.mixing(8):
            model(images(1).expand(8, -1, -1, -1) if first == "equal images" else images())
        nn.init.ones_(norm.weight)
        with pytest.raises(NoEffectWarning, match="at '1'"), site.mixing(8):
            model(images())


def test_what_a_device_has_not_said_yet_is_read_in_a_later_step(monkeypatch):
    answers = iter([False, False, True])
    monkeypatch.setattr(effect._AsyncValue, "is_ready", lambda arriving: next(answers))
    model = behind(LayerNorm2d(16))
    site = tm.attach(model, tm.MoEx(p=1, lam=1), at="1", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoEffectWarning)
        for _ in range(2):
            with site.mixing(8):
                model(images())
        with pytest.raises(NoEffectWarning), site.mixing(8):
            model(images())


def test_a_place_that_has_an_effect_is_looked_at_no_more():
    model = behind(nn.BatchNorm2d(16), nn.Dropout(0))
    site = tm.attach(model, tm.MoEx(p=1), at="1", seed=0)
    (hook,) = (hook.__self__ for hook in model[1]._forward_hooks.values())
    with site.mixing(8):
        model(images())
    assert hook.effect.checks_left == 0


def test_a_copy_looks_for_itself():
    model = behind(LayerNorm2d(16))
    site = tm.attach(model, tm.MoEx(p=1), at="1", seed=0)
    with pytest.warns(NoEffectWarning), site.mixing(8):
        model(images())
    for copied, its_site in (copy.deepcopy((model, site)), pickle.loads(pickle.dumps((model, site)))):
        with pytest.warns(NoEffectWarning), its_site.mixing(8):
            copied(images())


def test_looking_leaves_selective_checkpointing_alone():
    from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), Centred())
    x = images().requires_grad_()
    gradients = []
    for saved in ([], [torch.ops.aten.sub.Tensor]):
        site = tm.attach(part, tm.MoEx(p=1), at="1", seed=0)
        contexts = functools.partial(create_selective_checkpoint_contexts, saved)
        with site.mixing(8):
            output = checkpoint(part, x, use_reentrant=False, context_fn=contexts)
        gradients.append(torch.autograd.grad(output.square().sum(), x)[0])
        site.detach()
    torch.testing.assert_close(*gradients)
