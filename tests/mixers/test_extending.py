"""A new method is a subclass with its formula."""

import dataclasses
import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchmoments as tm


class TowardsPartner(tm.Mixer):
    """The formula alone."""

    def mix(self, x, draw):
        return x + 0.1 * (x[draw.partner] - x)


class WithoutFormula(tm.Mixer):
    pass


class Scaled(tm.Mixer):
    """With options of its own, defaults of its own, and a mask."""

    strength: float = 0.5
    p: float = 1.0
    loud: bool = dataclasses.field(default=False, kw_only=True)

    def mix(self, x, draw, mask=None):
        return x * (1 + self.strength)


def test_a_formula_is_a_method():
    mixer = TowardsPartner(p=1)
    assert repr(mixer) == ("TowardsPartner(p=1, partner='random', lam=1.0, label_from='donor', per_sample=False)")
    assert mixer == TowardsPartner(p=1) != TowardsPartner()
    assert hash(mixer) == hash(TowardsPartner(p=1))
    assert pickle.loads(pickle.dumps(mixer)) == mixer
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixer.p = 0.3
    with pytest.raises(ValueError, match="p needs a number from 0 to 1; got 2"):
        TowardsPartner(p=2)
    with pytest.raises(TypeError, match="abstract"):
        WithoutFormula()


def test_who_is_not_mixed_passes_without_a_word_of_the_formula():
    x = torch.randn(8, 4, 5, 5, requires_grad=True)
    draw = tm.Draw(torch.arange(8).roll(1), torch.tensor([True, False] * 4))
    y = TowardsPartner()(x, draw)
    assert torch.equal(y[1::2], x[1::2])
    torch.testing.assert_close(y[::2], (x + 0.1 * (x.roll(1, 0) - x))[::2])
    assert torch.equal(TowardsPartner()(x, draw.idle_copy()), x)
    everyone = tm.Draw(torch.arange(8).roll(1))
    torch.testing.assert_close(TowardsPartner()(x, everyone), x + 0.1 * (x.roll(1, 0) - x))


def test_options_of_its_own_come_in_their_order_and_the_shared_ones_by_name():
    assert list(inspect.signature(Scaled).parameters) == [
        *("strength", "p", "loud", "partner", "lam", "label_from", "per_sample"),
    ]
    mixer = Scaled(0.25, lam=0.8, partner="derangement")
    assert (mixer.strength, mixer.p, mixer.lam) == (0.25, 1.0, 0.8)
    assert mixer.mixes_labels
    assert mixer.takes_mask
    assert not TowardsPartner.takes_mask
    assert isinstance(mixer.with_p(0.2), Scaled)


def test_it_is_attached_like_any_other():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    site = tm.attach(model, Scaled(lam=0.8), at="0", seed=0)
    x, y = torch.randn(8, 3, 6, 6), torch.randint(3, (8,))
    with site.mixing(8) as plan:
        output = model(x)
        tm.mixed_loss(F.cross_entropy, output, y, plan).backward()
    with site.using(None):
        torch.testing.assert_close(output, model[2](model[1](1.5 * model[0](x))))


def test_a_subclass_of_a_method_keeps_its_options():
    class Louder(Scaled):
        volume: float = 2.0

        def mix(self, x, draw, mask=None):
            return self.volume * super().mix(x, draw)

    assert Louder(0.5, volume=3.0)(torch.ones(2, 1, 2, 2), tm.Draw(torch.tensor([1, 0]))).mean() == 4.5
    assert Louder().p == 1.0


class Often:
    p = 1.0


class OftenMoEx(tm.MoEx):
    p = 1.0


class StrongMoEx(tm.MoEx):
    lam = 0.5


class Unannotated(tm.Mixer):
    p = 1.0
    lam = 0.7
    partner = None
    label_from = "other"

    def mix(self, x, draw):
        return x


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (OftenMoEx(), {"p": 1.0, "lam": 0.9}),
        (OftenMoEx("in", 0.25), {"norm": "in", "p": 0.25}),
        (Unannotated(), {"p": 1.0, "lam": 0.7, "partner": None, "label_from": "other"}),
        (Unannotated(p=0.25), {"p": 0.25}),
        (type("Positional", (tm.MixStyle,), {"norm": "pono"})(), {"norm": "pono"}),
        (type("OfPlainClass", (Often, tm.MoEx), {})(), {"p": 1.0}),
        (type("OfTwo", (StrongMoEx, OftenMoEx), {})(), {"p": 1.0, "lam": 0.5}),
        (type("WithPartner", (tm.DSU,), {"partner": "random", "p": 0.1})(), {"partner": "random", "p": 0.1}),
    ],
)
def test_a_default_needs_no_annotation(mixer, expected):
    assert {name: getattr(mixer, name) for name in expected} == expected


def test_a_default_without_annotation_leaves_the_arguments_as_they_are():
    def arguments(mixer):
        return [(argument.name, argument.kind) for argument in inspect.signature(mixer).parameters.values()]

    assert arguments(OftenMoEx) == arguments(tm.MoEx)
    assert arguments(Unannotated) == arguments(TowardsPartner)


def test_a_field_needs_no_annotation_if_a_base_has_it():
    class Seldom(tm.MoEx):
        p = dataclasses.field(default=0.1, repr=False)

    assert Seldom().p == 0.1


def with_a_subclass(decorate):
    @decorate
    class Shifted(tm.Mixer):
        shift: float = 0.5
        loud: bool = dataclasses.field(default=False, kw_only=True)

        def mix(self, x, draw):
            return x

    class Moved(Shifted):
        by: float = 2.0

    return Shifted, Moved


@pytest.mark.parametrize("decorate", [dataclasses.dataclass(frozen=True), dataclasses.dataclass])
def test_a_decorator_written_by_habit_changes_nothing(decorate):
    for plain, decorated in zip(with_a_subclass(lambda cls: cls), with_a_subclass(decorate), strict=True):
        assert inspect.signature(decorated) == inspect.signature(plain)
        assert repr(decorated(0.25, partner=len)) == repr(plain(0.25, partner=len))
        assert hash(decorated(0.25)) == hash(decorated(0.25))
        assert decorated(0.25) == dataclasses.replace(decorated(), shift=0.25) != decorated()
        with pytest.raises(dataclasses.FrozenInstanceError):
            decorated().shift = 0.3


@pytest.mark.parametrize("name", ["p", "strength", "norm", "something"])
def test_no_attribute_of_a_mixer_can_be_changed(name):
    for mixer in (Scaled(), OftenMoEx(), TowardsPartner()):
        before = dict(vars(mixer))
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(mixer, name, 0.3)
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(mixer, name)
        assert vars(mixer) == before


class ChecksNothing:
    def __post_init__(self):
        pass


class OwnInit(tm.Mixer):
    def __init__(self, p):
        object.__setattr__(self, "p", p)

    def mix(self, x, draw):
        return x


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: type("Own", (TowardsPartner,), {"__post_init__": ChecksNothing.__post_init__})(p=7),
            "p needs a number from 0 to 1; got 7",
        ),
        (
            lambda: type("Own", (tm.MoEx,), {"__post_init__": ChecksNothing.__post_init__})(eps=0),
            "eps needs a number over 0; got 0",
        ),
        (lambda: type("Mixed", (ChecksNothing, tm.CrossNorm), {})(crop="x"), "crop needs one of"),
        (lambda: OwnInit(7), "p needs a number from 0 to 1; got 7"),
    ],
)
def test_options_are_checked_whatever_a_subclass_does_first(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_subclass_may_change_options_before_they_are_checked():
    class Listed(tm.MoEx):
        def __post_init__(self):
            object.__setattr__(self, "norm", tuple(self.norm))
            super().__post_init__()

    assert Listed([1, 3]).norm == (1, 3)
