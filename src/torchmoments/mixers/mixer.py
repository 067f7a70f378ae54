"""What the mixers share: the coin, the partners, the labels, the checks, and the interface.

A mixer makes draws, and turns features and a draw into features. It has no parameters and no state. A new one is a
subclass with its formula, `mix`, and with `decide` if chance decides more than who is mixed with whom.
"""

import dataclasses
import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NoReturn, Self, cast, dataclass_transform

import torch
from torch import Tensor

from torchmoments.draw import Draw, OneDraw, check_batch_size, child_generators
from torchmoments.mixers.options import Option, make_dataclass, run_after_init
from torchmoments.ops.reference import for_samples
from torchmoments.partners import NEED_GROUPS, Groups, Partner, check_partner, name_of, pair, third
from torchmoments.torch_internals import standard_gamma

LabelFrom = Literal["donor", "other"]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Mixer(ABC):
    """A method that mixes feature statistics; every subclass is made a frozen dataclass.

    A subclass declares the options of its formula, and those below whose defaults or places it wants to be others.

    Args:
        p: probability that a batch is mixed, 0.5.
        partner: whose statistics a sample gets, "random"; see `MoEx`.
        lam: weight of a sample's OWN label in a mixed batch, 1: labels are kept.
        label_from: whose label has the rest: "donor", the partner's; or "other", that of a third sample.
        per_sample: p is that of each sample, not of the batch, False.
    """

    p: float
    partner: Partner | None
    lam: float
    label_from: LabelFrom
    per_sample: bool

    # What `draw` decides by; all else belongs to `mix`, and a schedule cannot change it.
    drawn_by: ClassVar[tuple[str, ...]] = ("p", "partner", "per_sample", "alpha", "lam", "label_from")
    # Whether a sample that drew itself is left out; if it is mixed, that must change nothing but its rounding.
    leaves_self_out: ClassVar[bool] = False
    # Whether `mix` itself leaves the samples alone that are not mixed; if not, they are put back after it.
    applies_mixed: ClassVar[bool] = False
    changes_features: ClassVar[bool] = True
    takes_mask: ClassVar[bool] = False
    # At how many of several attached places, drawn at random, a mixed step mixes, after one coin. None: every place
    # has a coin of its own. A step that mixes labels mixes at one place: two label terms, not 2^k.
    places_per_step: int | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        has_options = any(issubclass(base, Mixer) and base is not Mixer for base in cls.__bases__)
        make_dataclass(cls, {} if has_options else _OPTIONS)
        run_after_init(cls, cls._check_options)
        cls.takes_mask = "mask" in inspect.signature(cls.mix).parameters

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    @property
    def mixes_labels(self) -> bool:
        """Whether a mixed step mixes the labels too."""
        return self.lam < 1

    @property
    def needs_groups(self) -> bool:
        """Whether partners depend on the class or the domain of each sample, which `draw` is given as `groups`."""
        return self.partner in NEED_GROUPS

    def draw(
        self,
        batch_size: int,
        *,
        groups: Groups | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Draw | None:
        """Decide by chance what happens to one batch; None: nothing is mixed.

        Args:
            batch_size: number of samples B.
            groups: class or domain of each sample: integers [B], or a sequence of B names. Partners come from another
                (or the same) one if `partner` says so; otherwise they are not looked at. Best on the CPU: reading
                them from a GPU waits for it.
            generator: a CPU generator; torch's global one if None.
            device: where the draw will be used; the CPU if None.

        Raises:
            ValueError: batch_size is no whole number; groups are of another length, or missing.
        """
        check_batch_size(batch_size)
        # Streams of their own: another p leaves the partners and what `decide` draws as they are.
        coins, partners, more = child_generators(generator, 3)
        # A sample alone has nobody to mix with.
        if batch_size < 2:
            return None
        partner, mixed = self.find_partners(batch_size, groups, partners)
        label_partner = None
        if self.mixes_labels and self.label_from == "other":
            label_partner, has_one = third(partner, partners)
            mixed &= has_one
        mixed &= uniform(batch_size if self.per_sample else (), coins) < self.p
        if self.leaves_self_out:
            mixed &= partner != torch.arange(batch_size, device="cpu")
        if not bool(mixed.any()):
            return None
        draw = Draw(partner, mixed, label_weight=float(self.lam), label_partner=label_partner)
        draw = self.decide(draw, more)
        return draw if device is None else draw.to(device)

    def find_partners(
        self, batch_size: int, groups: Groups | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Partners [B] int64, and who may be mixed [B] bool. A method without partners gives everybody itself."""
        if self.partner is None:
            own = torch.arange(batch_size, device="cpu")
            return own, torch.ones(batch_size, dtype=torch.bool, device="cpu")
        return pair(self.partner, batch_size, groups, generator)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        """What chance decides besides: strengths, boxes."""
        return draw

    def __call__(self, x: Tensor, draw: Draw | None, mask: Tensor | None = None) -> Tensor:
        """Mix features [B, C, *positions] as the draw says; x itself if it is None.

        Args:
            mask: [B, *positions], True or 1 for features, False or 0 for padding, which enters no moment and passes
                bit for bit.

        Raises:
            ValueError: another batch size than the draw's; a mask for a method that takes none.
        """
        if draw is None:
            return x
        if x.shape[0] != draw.batch_size:
            raise ValueError(
                f"the draw is for {draw.batch_size} samples; got features of {x.shape[0]}, shape {list(x.shape)}. "
                f"Use draw({x.shape[0]})."
            )
        if mask is None:
            y = self.mix(x, draw)
        elif self.takes_mask:
            y = cast(Any, self).mix(x, draw, mask)
        else:
            raise ValueError(
                f"{type(self).__name__} takes no mask of padded positions. Use MoEx, MixStyle, DSU, PermutedAdaIN, "
                "RandomMoments or CrossNorm without crop, or batches without padding."
            )
        if draw.mixed is None or self.applies_mixed:
            return y
        return torch.where(for_samples(draw.mixed, x), y, x)

    def with_p(self, p: float) -> Self:
        """The same mixer with another p."""
        return cast(Self, dataclasses.replace(cast(Any, self), p=p))

    @abstractmethod
    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        """The method's formula: a function of features [B, C, *positions] and draw alone, without random numbers.

        One that can leave padding out takes it as a third argument, `mask: Tensor | None = None`, [B, *positions].
        """

    def __post_init__(self) -> None:
        """A subclass's own may call it for options that are checked already; after it they are in any case."""
        self._check_options()

    def _check_options(self) -> None:
        check_fraction("p", self.p)
        check_fraction("lam", self.lam)
        check_choice("label_from", self.label_from, ("donor", "other"))
        check_switch("per_sample", self.per_sample)
        if self.partner is not None:
            check_partner(self.partner)
        elif self.mixes_labels and self.label_from == "donor":
            raise ValueError(
                f"{type(self).__name__} has no donor whose label could be mixed in; got lam={self.lam} with "
                'label_from="donor". Use label_from="other", or lam=1.'
            )

    def __repr__(self) -> str:
        """Evaluates back to an equal mixer; a function for partners stands by its name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))}
        shown = [f"{key}={name_of(value) if callable(value) else repr(value)}" for key, value in values.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


_DEFAULTS = {"p": 0.5, "partner": "random", "lam": 1.0, "label_from": "donor", "per_sample": False}
_OPTIONS = {name: Option(Mixer.__annotations__[name], default) for name, default in _DEFAULTS.items()}


def of_kind(draw: Draw, kind: type[OneDraw]) -> OneDraw:
    """The draw, if it is one that this method can use; raises ValueError otherwise."""
    if not isinstance(draw, kind):
        raise ValueError(
            f"this method needs a {kind.__name__}; got a {type(draw).__name__}. Use the draw of the mixer itself."
        )
    return draw


def beta_weights(alpha: float, batch_size: int, generator: torch.Generator) -> Tensor:
    """Beta(alpha, alpha) for each sample, [B] float32.

    A Beta is G / (G + H) of two Gammas, and Gamma(a) is Gamma(a + 1) * U^(1 / a): in logarithms, because for a small
    alpha both would underflow.
    """
    shape = (2, batch_size)
    gammas = standard_gamma(torch.full(shape, alpha + 1, dtype=torch.float64, device="cpu"), generator)
    logarithms = gammas.log() + uniform(shape, generator, torch.float64).log() / alpha
    return torch.sigmoid(logarithms[0] - logarithms[1]).float()


def uniform(size: int | tuple[int, ...], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers in [0, 1): the same ones whatever PyTorch's default dtype and device are."""
    return torch.rand(size, generator=generator, dtype=dtype, device="cpu")


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} needs a number from 0 to 1; got {value!r}.")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite number over 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{name} needs a number over 0; got {value!r}.")


def check_switch(name: str, value: bool) -> None:
    """Raise ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} needs True or False; got {value!r}.")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} needs one of {', '.join(map(str, choices))}; got {value!r}.")
