"""Random numbers for each moment of a sample, computed by hashing one random key per sample."""

import dataclasses
import math

import torch
from torch import Tensor

from torchmoments.draw import Draw

_LOW = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class KeyedDraw(Draw):
    """A draw with `key` [B] int64, from which `mix` computes the random numbers of each sample's moments."""

    key: Tensor = dataclasses.field(kw_only=True)


def with_keys(draw: Draw, generator: torch.Generator) -> KeyedDraw:
    """Add a random key for each sample to a draw."""
    key = torch.randint(2**62, (draw.batch_size,), generator=generator, device="cpu")
    return draw.extended(KeyedDraw, key=key)


def normal_noise(key: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Compute two independent N(0, 1) numbers for each value of `like` [B, ...] from the key [B], by Box-Muller."""
    u1, u2 = uniform_noise(key, like)
    radius = (-2 * u1.log()).sqrt()
    return (radius * (2 * math.pi * u2).cos()).to(like.dtype), (radius * (2 * math.pi * u2).sin()).to(like.dtype)


def uniform_noise(key: Tensor, like: Tensor) -> Tensor:
    """Return [2, B, ...]: two independent float32 in (0, 1) for each value of `like` [B, ...], from the key [B]."""
    number = torch.arange(2 * math.prod(like.shape[1:]), device=like.device).reshape(2, 1, *like.shape[1:])
    keys = key.reshape(1, -1, *[1] * (like.ndim - 1))
    hashed = _scramble(_scramble(_scramble(number) ^ (keys & _LOW)) ^ (keys >> 32))
    # 24 bits, which float32 represents exactly; adding a half avoids log(0).
    return ((hashed >> 8).float() + 0.5) / 2**24


def _scramble(number: Tensor) -> Tensor:
    """Hash 32 bits, in int64. The factors are below 2^31, so no product overflows."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x46D9F3B1), (16, 0x2C1B3C6D)):
        number = ((number ^ (number >> shift)) * factor) & _LOW
    return number ^ (number >> 16)
