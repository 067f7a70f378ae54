"""The base class of all mixers: the coin, partners, labels, checks, and the interface.

A mixer makes draws, and maps features and a draw to features. It has no parameters and no state. A new one is a
subclass with its formula, `mix`, and with `decide` if more is random than the coin and the partners.
"""

import dataclasses
import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NoReturn, Self, cast, dataclass_transform

import torch
from torch import Tensor

from torchmoments.draw import Draw, OneDraw, check_batch_size, child_generators
from torchmoments.mixers.options import Option, make_dataclass, run_after_init
from torchmoments.ops.reference import for_samples, statistics_type
from torchmoments.partners import (
    NEEDS_GROUPS,
    Groups,
    Partner,
    assign_partners,
    check_partner,
    policy_name,
    third_samples,
)
from torchmoments.ranks import GLOBAL, shares_of_ranks
from torchmoments.torch_internals import standard_gamma

LabelFrom = Literal["donor", "other"]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Mixer(ABC):
    """A method that mixes feature statistics; every subclass becomes a frozen dataclass.

    A subclass declares the options of its formula, and those below whose defaults or positions it changes.

    Args:
        p: probability that a batch is mixed; default 0.5.
        partner: how partners are chosen; default "random", see `MoEx`. "global" is only for methods with
            `exchanges_over_ranks`.
        lam: weight of a sample's OWN label in a mixed batch; default 1, which keeps labels.
        label_from: whose label gets the remaining weight: "donor", the partner's (default); or "other", that of a third
            sample.
        per_sample: apply p to each sample instead of the batch; default False.
    """

    p: float
    partner: Partner | None
    lam: float
    label_from: LabelFrom
    per_sample: bool

    # The options that `draw` uses; all others are used by `mix`, and a schedule cannot change them.
    draw_options: ClassVar[tuple[str, ...]] = ("p", "partner", "per_sample", "alpha", "lam", "label_from")
    # Whether self-pairs are skipped; if not, mixing a sample with itself may change it by rounding only.
    skips_self_pairs: ClassVar[bool] = False
    # Whether `mix` leaves samples that are not mixed unchanged, and computes half types in float32; if not, it gets
    # float32 or float64, and these samples are restored after it.
    handles_unmixed: ClassVar[bool] = False
    changes_features: ClassVar[bool] = True
    takes_mask: ClassVar[bool] = False
    # Whether `mix` reads a partner's values, at most its moments, with `take(values, draw.partner)` alone.
    exchanges_over_ranks: ClassVar[bool] = False
    # The number of attached places, chosen at random, at which a mixed step mixes, with one coin for all. None: each
    # place has its own coin. A step that mixes labels mixes at one place: two label terms, not 2^k.
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
        """Whether labels are mixed in a mixed step: `lam` < 1."""
        return self.lam < 1

    @property
    def needs_groups(self) -> bool:
        """Whether partners depend on the class or domain of each sample, so that draws need `groups`.

        True for partner="other-group" and partner="same-group".
        """
        return self.partner in NEEDS_GROUPS

    def draw(
        self,
        batch_size: int,
        *,
        groups: Groups | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Draw | None:
        """Draw at random how one batch is mixed; returns None if nothing is mixed.

        Args:
            batch_size: number of samples B. With partner="global", of this rank; all ranks draw at the same time, with
                equal generators.
            groups: class or domain of each sample: integers [B], or a sequence of B names. Used only if partners are
                chosen by group (`needs_groups`). Best on the CPU: reading them from a GPU waits for it.
            generator: a CPU generator; torch's global one if None.
            device: the device where the draw will be used; the CPU if None.

        Raises:
            ValueError: batch_size is not an integer; groups are missing or have another length; the random numbers of
                ranks differ.
        """
        check_batch_size(batch_size)
        shares = shares_of_ranks(batch_size, generator) if self.partner == GLOBAL else None
        if shares is not None:
            whole = self.in_one_process().draw(sum(shares.sizes), generator=generator)
            part = None if whole is None else whole.of_rank(shares)
            return part if part is None or device is None else part.to(device)
        # Separate streams, so that changing p does not change the partners or what `decide` draws.
        coins, partners, more = child_generators(generator, 3)
        # A single sample has no partner.
        if batch_size < 2:
            return None
        partner, mixed = self.find_partners(batch_size, groups, partners)
        label_partner = None
        if self.mixes_labels and self.label_from == "other":
            label_partner, has_one = third_samples(partner, partners)
            mixed &= has_one
        mixed &= uniform(batch_size if self.per_sample else (), coins) < self.p
        if self.skips_self_pairs:
            mixed &= partner != torch.arange(batch_size, device="cpu")
        if not bool(mixed.any()):
            return None
        draw = Draw(partner, mixed, label_weight=float(self.lam), label_partner=label_partner)
        draw = self.decide(draw, more)
        return draw if device is None else draw.to(device)

    def find_partners(
        self, batch_size: int, groups: Groups | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return partners [B] int64 (the own index for methods without), and which samples may be mixed, [B] bool."""
        if self.partner is None:
            own = torch.arange(batch_size, device="cpu")
            return own, torch.ones(batch_size, dtype=torch.bool, device="cpu")
        return assign_partners(self.partner, batch_size, groups, generator)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        """Add the other random values of a draw, such as strengths or boxes."""
        return draw

    def __call__(self, x: Tensor, draw: Draw | None, mask: Tensor | None = None) -> Tensor:
        """Mix features [B, C, *positions] according to a draw; returns x itself if the draw is None.

        Args:
            mask: [B, *positions], True or 1 for features, False or 0 for padding, which is excluded from all moments
                and passes bit for bit.

        Raises:
            ValueError: the batch sizes of x and the draw differ; a mask for a method that does not support it.
        """
        if draw is None:
            return x
        if x.shape[0] != draw.batch_size:
            raise ValueError(
                f"the draw is for {draw.batch_size} samples; got features of {x.shape[0]}, shape {list(x.shape)}. "
                f"Use draw({x.shape[0]})."
            )
        if mask is not None and not self.takes_mask:
            raise ValueError(
                f"{type(self).__name__} takes no mask of padded positions. Use MoEx, MixStyle, DSU, PermutedAdaIN, "
                "RandomMoments or CrossNorm without crop, or batches without padding."
            )
        masks = () if mask is None else (mask,)
        if self.handles_unmixed:
            return self.mix(x, draw, *masks)
        # Once, so that gradients of a sample that is not mixed but gives its moments are added before rounding.
        values = x.to(statistics_type(x))
        y = self.mix(values, draw, *masks)
        if draw.mixed is not None:
            y = torch.where(for_samples(draw.mixed, values), y, values)
        return y.to(x.dtype)

    def with_p(self, p: float) -> Self:
        """Return the same mixer with another p."""
        return cast(Self, dataclasses.replace(cast(Any, self), p=p))

    def in_one_process(self) -> Self:
        """Return the mixer whose draws for a batch are those of partner="global" over all ranks together."""
        return cast(Self, dataclasses.replace(cast(Any, self), partner="random"))

    @abstractmethod
    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        """Apply the method's formula, a function of only features [B, C, *positions] and draw, without random numbers.

        A formula that supports padding has a third argument, `mask: Tensor | None = None`, [B, *positions].
        """

    def __post_init__(self) -> None:
        """Check the options early, for subclasses that call this; they are checked after __post_init__ in any case."""
        self._check_options()

    def _check_options(self) -> None:
        check_fraction("p", self.p)
        check_fraction("lam", self.lam)
        check_choice("label_from", self.label_from, ("donor", "other"))
        check_switch("per_sample", self.per_sample)
        if self.partner is not None:
            check_partner(self.partner)
            if self.partner == GLOBAL and not self.exchanges_over_ranks:
                raise ValueError(
                    f'partner="global" gathers moments of other ranks, never features, which {type(self).__name__} '
                    'needs. Use MoEx, MixStyle, CrossNorm, PermutedAdaIN or LabelsOnly, or partner="random".'
                )
        elif self.mixes_labels and self.label_from == "donor":
            raise ValueError(
                f"{type(self).__name__} has no donor whose label could be mixed in; got lam={self.lam} with "
                'label_from="donor". Use label_from="other", or lam=1.'
            )

    def __repr__(self) -> str:
        """Return an expression that evaluates to an equal mixer; a partner function is shown by its name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))}
        shown = [f"{key}={policy_name(value) if callable(value) else repr(value)}" for key, value in values.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


_DEFAULTS = {"p": 0.5, "partner": "random", "lam": 1.0, "label_from": "donor", "per_sample": False}
_OPTIONS = {name: Option(Mixer.__annotations__[name], default) for name, default in _DEFAULTS.items()}


def checked_kind(draw: Draw, kind: type[OneDraw]) -> OneDraw:
    """Return the draw; raise ValueError if it is not of the class that the method needs."""
    if not isinstance(draw, kind):
        raise ValueError(
            f"this method needs a {kind.__name__}; got a {type(draw).__name__}. Use the draw of the mixer itself."
        )
    return draw


def beta_weights(alpha: float, batch_size: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha) for each sample, [B] float32.

    A Beta variable is G / (G + H) for two Gamma variables, and Gamma(a) is Gamma(a + 1) * U^(1 / a). Computed in
    logarithms, because for a small alpha both would underflow.
    """
    shape = (2, batch_size)
    gammas = standard_gamma(torch.full(shape, alpha + 1, dtype=torch.float64, device="cpu"), generator)
    logarithms = gammas.log() + uniform(shape, generator, torch.float64).log() / alpha
    return torch.sigmoid(logarithms[0] - logarithms[1]).float()


def uniform(size: int | tuple[int, ...], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw numbers in [0, 1), independent of PyTorch's default dtype and device."""
    return torch.rand(size, generator=generator, dtype=dtype, device="cpu")


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} needs a number from 0 to 1; got {value!r}.")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite number above 0."""
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
