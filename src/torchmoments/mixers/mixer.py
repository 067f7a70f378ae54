"""What the mixers share: the coin, the checks, and the interface.

A mixer makes draws, and turns features and a draw into features. It has no parameters and no state.
"""

import dataclasses
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from torchmoments.draw import PARTNERS, Draw, check_batch_size, child_generators


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} needs a number from 0 to 1; got {value!r}.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} needs one of {', '.join(choices)}; got {value!r}.")


@dataclasses.dataclass(frozen=True)
class Mixer(ABC):
    """A method that mixes feature statistics. Subclasses are frozen dataclasses with at least `p` and `partner`."""

    @property
    @abstractmethod
    def mixes_labels(self) -> bool:
        """Whether a mixed step mixes the labels too."""

    @abstractmethod
    def draw(
        self, batch_size: int, *, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Draw | None:
        """Decide by chance what happens to one batch; None: nothing is mixed.

        Args:
            batch_size: number of samples B.
            generator: a CPU generator; torch's global one where None.
            device: where the draw will be used; the CPU where None.
        """

    @abstractmethod
    def __call__(self, x: Tensor, draw: Draw | None) -> Tensor:
        """Mix features [B, C, *positions] as the draw says; x itself where it is None."""


def toss_coin_and_pair(p: float, partner: str, batch_size: int, generator: torch.Generator | None) -> Tensor | None:
    """One coin for the batch, then partners [B]. The streams are separate: another p leaves the partners alone."""
    check_batch_size(batch_size)
    coins, partners = child_generators(generator, 2)
    if batch_size < 2 or torch.rand((), generator=coins).item() >= p:
        return None
    return PARTNERS[partner](batch_size, partners)


def check_draw(x: Tensor, draw: Draw) -> None:
    """Raise ValueError unless the draw is for as many samples as x has."""
    if x.shape[0] != draw.batch_size:
        raise ValueError(
            f"the draw is for {draw.batch_size} samples; got features of {x.shape[0]}, shape {list(x.shape)}. "
            f"Use draw({x.shape[0]})."
        )
