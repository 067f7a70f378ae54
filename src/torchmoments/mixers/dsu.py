"""DSU: features get moments drawn around their own, as far as the moments of the batch spread.

Source: Li et al., "Uncertainty Modeling for Out-of-Distribution Generalization", ICLR 2022, arXiv 2202.03958.
"""

import dataclasses
import math

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer, check_fraction, check_positive, of_kind
from torchmoments.mixers.restyled import restyled
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.reference import Moments
from torchmoments.partners import Groups


@dataclasses.dataclass(frozen=True, eq=False)
class DSUDraw(Draw):
    """A draw with `key` [B] int64, of which `mix` makes the noise of each sample, because C is not known before."""

    key: Tensor = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True, repr=False)
class DSU(Mixer):
    """Domain shifts with uncertainty.

    out[b] = (x[b] - mean[b]) / std[b] * (std[b] + n1 S_std) + mean[b] + n2 S_mean

    with n1, n2 ~ N(0, 1) for each moment of each sample, and S the spread of that moment over all B samples,
    sqrt(variance + eps), the variance with B - 1. Nobody has a partner. The new std can become negative, as published.

    Gradient: through all moments of the batch, those in the spread too.

    Args:
        p: probability that a batch is mixed, at each place.
        eps: added to the variance of features and of moments, in units of their squares.
        norm: what one moment averages over, see `torchmoments.moments`; style is "in".
        per_sample: p is that of each sample, not of the batch. The spread is always that of the whole batch.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.

    Source: Li et al., "Uncertainty Modeling for Out-of-Distribution Generalization", ICLR 2022.
    """

    p: float = 0.5
    eps: float = dataclasses.field(default=1e-6, kw_only=True)
    norm: Norm = dataclasses.field(default="in", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_fraction("p", self.p)
        check_positive("eps", self.eps)
        check_norm(self.norm)

    def find_partners(
        self, batch_size: int, groups: Groups | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return torch.arange(batch_size, device="cpu"), torch.ones(batch_size, dtype=torch.bool, device="cpu")

    def decide(self, draw: Draw, generator: torch.Generator) -> DSUDraw:
        key = torch.randint(2**62, (draw.batch_size,), generator=generator, device="cpu")
        return DSUDraw(draw.partner, draw.mixed, key=key)

    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        key = of_kind(draw, DSUDraw).key

        def spread_out(own: Moments) -> Moments:
            n1, n2 = normal_noise(key, own.mean)
            return Moments(own.mean + n2 * self._spread(own.mean), own.std + n1 * self._spread(own.std))

        return restyled(x, draw, self.norm, self.eps, spread_out)

    def _spread(self, moment: Tensor) -> Tensor:
        return (moment.var(0, keepdim=True) + self.eps).sqrt()


def normal_noise(key: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent N(0, 1) for each value of `like` [B, ...], the same for the same key [B], by Box-Muller."""
    number = torch.arange(2 * like[0].numel(), device=like.device).reshape(2, 1, *like.shape[1:])
    keys = key.reshape(1, -1, *[1] * (like.ndim - 1))
    hashed = _scramble(_scramble(_scramble(number) ^ (keys & _LOW)) ^ (keys >> 32))
    # 24 bits, which float32 holds exactly; the half keeps the logarithm off 0.
    u1, u2 = ((hashed >> 8).float() + 0.5) / 2**24
    radius = (-2 * u1.log()).sqrt()
    return (radius * (2 * math.pi * u2).cos()).to(like.dtype), (radius * (2 * math.pi * u2).sin()).to(like.dtype)


_LOW = 2**32 - 1


def _scramble(number: Tensor) -> Tensor:
    """A hash of 32 bits in int64. The factors are below 2^31, so that no product overflows."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x46D9F3B1), (16, 0x2C1B3C6D)):
        number = ((number ^ (number >> shift)) * factor) & _LOW
    return number ^ (number >> 16)
