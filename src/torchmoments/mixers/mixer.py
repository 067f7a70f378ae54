"""What the mixers share: the coin, the partners, the checks, and the interface.

A mixer makes draws, and turns features and a draw into features. It has no parameters and no state. A new one is a
frozen dataclass with `mix`, and with `decide` where chance decides more than who is mixed with whom.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor

from torchmoments.draw import Draw, check_batch_size, child_generators
from torchmoments.partners import Groups, Partner, check_partner, name_of, pair

OneDraw = TypeVar("OneDraw", bound=Draw)


class Mixer(ABC):
    """A method that mixes feature statistics."""

    p: float
    partner: Partner
    per_sample: bool = False

    # What `draw` decides by; all else belongs to `mix`, and a schedule cannot change it.
    drawn_by: ClassVar[tuple[str, ...]] = ("p", "partner", "per_sample", "alpha", "lam")
    # Whether a sample that drew itself is left out; where it is mixed, that must change nothing but its rounding.
    leaves_self_out: ClassVar[bool] = False

    @property
    def mixes_labels(self) -> bool:
        """Whether a mixed step mixes the labels too."""
        return False

    @property
    def places_per_step(self) -> int | None:
        """Where several places are attached, how many of them, drawn at random, one coin is tossed for in a step.

        None: every place has a coin of its own. Labels are mixed at one place: two label terms, not 2^k.
        """
        return 1 if self.mixes_labels else None

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
                (or the same) one where `partner` says so; otherwise they are not looked at. Best on the CPU: reading
                them from a GPU waits for it.
            generator: a CPU generator; torch's global one where None.
            device: where the draw will be used; the CPU where None.

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
        mixed &= uniform(batch_size if self.per_sample else (), coins) < self.p
        if self.leaves_self_out:
            mixed &= partner != torch.arange(batch_size, device="cpu")
        if not bool(mixed.any()):
            return None
        draw = self.decide(Draw(partner, mixed), more)
        return draw if device is None else draw.to(device)

    def find_partners(
        self, batch_size: int, groups: Groups | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Partners [B] int64, and who may be mixed [B] bool. A method without partners gives everybody itself."""
        return pair(self.partner, batch_size, groups, generator)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        """What chance decides besides: strengths, boxes, label weights."""
        return draw

    def __call__(self, x: Tensor, draw: Draw | None) -> Tensor:
        """Mix features [B, C, *positions] as the draw says; x itself where it is None."""
        if draw is None:
            return x
        if x.shape[0] != draw.batch_size:
            raise ValueError(
                f"the draw is for {draw.batch_size} samples; got features of {x.shape[0]}, shape {list(x.shape)}. "
                f"Use draw({x.shape[0]})."
            )
        return self.mix(x, draw)

    def with_p(self, p: float) -> Self:
        """The same mixer with another p."""
        return cast(Self, dataclasses.replace(cast(Any, self), p=p))

    @abstractmethod
    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        """The method: a function of features [B, C, *positions] and draw alone, without random numbers."""

    def __post_init__(self) -> None:
        check_fraction("p", self.p)
        check_partner(self.partner)
        check_switch("per_sample", self.per_sample)

    def __repr__(self) -> str:
        """Evaluates back to an equal mixer; a function for partners stands by its name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        shown = [f"{key}={name_of(value) if callable(value) else repr(value)}" for key, value in values.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


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
    exponents = torch.full(shape, alpha + 1, dtype=torch.float64, device="cpu")
    gammas = torch._standard_gamma(exponents, generator=generator)
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
