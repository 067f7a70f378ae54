"""Moments of features, and their exchange between samples.

This file is the definition, in plain differentiable PyTorch. `closed_form.py` beside it computes the same with
a backward of its own, and `tests/ops` holds the two together, values and gradients. Where they differ,
this file is right.

Features x are a view made by `norms.group`: axis 0 is the batch, and one moment reduces the given axes.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Mean and standard deviation, each broadcasting against the features."""

    mean: Tensor
    std: Tensor


def statistics_type(x: Tensor) -> torch.dtype:
    """float32 for half types; float32 and float64 stay."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def moments(x: Tensor, axes: tuple[int, ...], eps: float) -> Moments:
    """mean = sum(x) / n and std = sqrt(sum((x - mean)^2) / (n - 1) + eps), over `axes`."""
    x = x.to(statistics_type(x))
    if x.device.type == "cpu":
        # On a CPU var_mean takes up to 50 times as long as the mean and then the squares, and compiled up to twice.
        mean = x.mean(axes, keepdim=True)
        variance = (x - mean).square().sum(axes, keepdim=True) / (values_of(x, mean) - 1)
    else:
        variance, mean = torch.var_mean(x, dim=axes, keepdim=True)
    return Moments(mean, (variance + eps).sqrt())


def positive_moments(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Moments, Tensor]:
    """Moments of the values over zero, with the biased variance, and how many values each is of.

    Two passes: the published one-pass form loses all digits at large offsets.
    """
    x = x.to(statistics_type(x))
    positive = x > 0
    count = positive.sum(axes, keepdim=True)
    divisor = count.clamp(min=1)
    mean = torch.where(positive, x, 0).sum(axes, keepdim=True) / divisor
    variance = torch.where(positive, (x - mean).square(), 0).sum(axes, keepdim=True) / divisor
    return Moments(mean, (variance + eps).sqrt()), count


def restyle(x: Tensor, own: Moments, new: Moments, mixed: Tensor | None = None) -> Tensor:
    """(x - own.mean) / own.std * new.std + new.mean, in x's dtype; where `mixed` is False, x bit for bit.

    The choice is made on the small moments: 1 * (x - 0) + (-0.0) is x, also for x = -0.0.
    """
    mean, scale, shift = affine(own, new, mixed)
    return ((x.to(mean.dtype) - mean) * scale + shift).to(x.dtype)


def restyle_gradients(g: Tensor, x: Tensor, own: Moments, new: Moments, mixed: Tensor | None) -> list[Tensor | None]:
    """The gradients of x and of the four moments, with a graph of their own; None for what needs none.

    Of aliases: the moments may be made of x, and what flows to x through them is not for `restyle` to count.
    """
    given = [tensor.view_as(tensor) for tensor in (x, *own, *new)]
    y = restyle(given[0], Moments(given[1], given[2]), Moments(given[3], given[4]), mixed)
    found = iter(torch.autograd.grad(y, [tensor for tensor in given if tensor.requires_grad], g, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in given]


def affine(own: Moments, new: Moments, mixed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(mean, scale, shift) of the map (x - mean) * scale + shift; where `mixed` is False, those that give x."""
    mean, scale, shift = own.mean, new.std / own.std, new.mean
    if mixed is not None:
        mean = torch.where(mixed, mean, 0.0)
        scale = torch.where(mixed, scale, 1.0)
        shift = torch.where(mixed, shift, -0.0)
    return mean, scale, shift


def exchange(
    x: Tensor,
    partner: Tensor,
    mixed: Tensor | None,
    own_weight: Tensor | float,
    axes: tuple[int, ...],
    eps: float,
    grad: str,
    positive_only: bool,
    moment: str,
) -> Tensor:
    """Restyle each sample with w * its own moments + (1 - w) * its partner's; one that `moment` leaves out stays."""
    if positive_only:
        own, count = positive_moments(x, axes, eps)
        has_moments = (count > 0) & (count > 0)[partner]
        mixed = has_moments if mixed is None else has_moments & for_samples(mixed, count)
    else:
        own = moments(x, axes, eps)
        mixed = None if mixed is None else for_samples(mixed, own.mean)
    detached = Moments(own.mean.detach(), own.std.detach())
    kept = own if grad in ("both", "own") else detached
    given = own if grad in ("both", "donor") else detached
    return restyle(x, kept, blend(kept, given, partner, *weights_of(own_weight, moment)), mixed)


def weights_of(own_weight: Tensor | float, moment: str) -> tuple[Tensor | float, Tensor | float]:
    """The own weights of the mean and of the standard deviation: 1 for the one that is not exchanged."""
    return 1.0 if moment == "std" else own_weight, 1.0 if moment == "mean" else own_weight


def blend(
    own: Moments, given: Moments, partner: Tensor, mean_weight: Tensor | float, std_weight: Tensor | float
) -> Moments:
    """w * own + (1 - w) * given[partner], of means and of standard deviations (not of variances)."""
    return Moments(
        _blend(own.mean, given.mean, partner, mean_weight),
        _blend(own.std, given.std, partner, std_weight),
    )


def _blend(own: Tensor, given: Tensor, partner: Tensor, weight: Tensor | float) -> Tensor:
    if isinstance(weight, float):
        if weight == 1.0:
            return own
        if weight == 0.0:
            return given[partner]
    else:
        weight = for_samples(weight, own).to(own.dtype)
    return weight * own + (1 - weight) * given[partner]


def values_of(x: Tensor, moment: Tensor) -> int:
    """How many values one moment is of; 0 in an empty batch."""
    return x.numel() // max(1, moment.numel())


def for_samples(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ...], so that it broadcasts over the axes of `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
