"""Moments of features, and their exchange between samples.

This file is the definition, in plain differentiable PyTorch. `closed_form.py` beside it computes the same with
a backward of its own, and `tests/ops` holds the two together, values and gradients. Where they differ,
this file is right.

Features x are a view made by `norms.group`: axis 0 is the batch, and one moment reduces the given axes. Half types are
cast once, at the top of a formula: each cast rounds the gradient that goes back through it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchmoments.ops.settings import Settings


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


def moments_of(
    x: Tensor, counted: Tensor, axes: tuple[int, ...], eps: float, *, unbiased: bool
) -> tuple[Moments, Tensor]:
    """Moments of the values that are counted, and whether there are enough of them: two with the unbiased variance,
    one with the biased.

    Two passes: the published one-pass form loses all digits at large offsets.
    """
    x = x.to(statistics_type(x))
    count = counted.sum(axes, keepdim=True)
    mean = torch.where(counted, x, 0).sum(axes, keepdim=True) / count.clamp(min=1)
    squares = torch.where(counted, (x - mean).square(), 0).sum(axes, keepdim=True)
    variance = squares / (count - int(unbiased)).clamp(min=1)
    return Moments(mean, (variance + eps).sqrt()), count > int(unbiased)


def positive_moments(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Moments, Tensor]:
    """Moments of the values over zero, with the biased variance, and how many values each is of."""
    own, _ = moments_of(x, x > 0, axes, eps, unbiased=False)
    return own, (x > 0).sum(axes, keepdim=True)


def restyle(x: Tensor, own: Moments, new: Moments, mixed: Tensor | None = None) -> Tensor:
    """(x - own.mean) / own.std * new.std + new.mean, in x's dtype; where `mixed` is False, x bit for bit.

    The choice is made on the small moments: 1 * (x - 0) + (-0.0) is x, also for x = -0.0.
    """
    mean, scale, shift = affine(own, new, mixed)
    return ((x.to(mean.dtype) - mean) * scale + shift).to(x.dtype)


def restyle_gradients(g: Tensor, x: Tensor, given: Sequence[Tensor], mixed: Tensor | None) -> list[Tensor | None]:
    """The gradients of x and of own.mean, own.std, new.mean, new.std, by autograd."""

    def formula(x: Tensor, mean: Tensor, std: Tensor, new_mean: Tensor, new_std: Tensor) -> Tensor:
        return restyle(x, Moments(mean, std), Moments(new_mean, new_std), mixed)

    return gradients(formula, [x, *given], [g])


def reduced_axes(*moments: Tensor) -> tuple[int, ...]:
    """The axes, but for the batch, along which none of the moments varies."""
    return tuple(axis for axis in range(1, moments[0].ndim) if all(m.shape[axis] == 1 for m in moments))


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
    settings: Settings,
    real: Tensor | None = None,
) -> Tensor:
    """Restyle each sample with w * its own moments + (1 - w) * its partner's; one that `moment` leaves out stays.

    Args:
        real: bool, broadcasting against x: which values are no padding. The others enter no moment and stay.
    """
    values = x.to(statistics_type(x))
    if real is not None:
        # What stands in the padding may be no number, and 0 times that is none either.
        values = torch.where(real, values, 0)
    mask = None if mixed is None else for_samples(mixed, x)
    if real is None and not settings.positive_only:
        own = moments(values, settings.axes, settings.eps)
    else:
        own, has_moments = _partial_moments(values, settings, real)
        both = has_moments & has_moments[partner]
        mask = both if mask is None else both & mask
    detached = Moments(own.mean.detach(), own.std.detach())
    kept = own if settings.grad in ("both", "own") else detached
    given = own if settings.grad in ("both", "donor") else detached
    new = blend(kept, given, partner, *weights_of(own_weight, settings.moment))
    y = restyle(values, kept, new, mask).to(x.dtype)
    return y if real is None else torch.where(real, y, x)


def _partial_moments(values: Tensor, settings: Settings, real: Tensor | None) -> tuple[Moments, Tensor]:
    counted = values > 0 if settings.positive_only else torch.ones_like(values, dtype=torch.bool)
    if real is not None:
        counted = counted & real
    return moments_of(values, counted, settings.axes, settings.eps, unbiased=not settings.positive_only)


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


def gradients(formula: Callable[..., Any], inputs: Sequence[Tensor], g: Sequence[Tensor]) -> list[Tensor | None]:
    """Those of what `formula(*inputs)` returns, by autograd, for a backward that has no closed form for them: with a
    graph of their own if a gradient of the gradient is asked for. None for inputs that need none.

    Of aliases: inputs may be made of each other, and what flows through that is not for the formula to count.
    """
    with_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [x.view_as(x) if with_graph else x.detach().requires_grad_(x.requires_grad) for x in inputs]
        found = torch.autograd.grad(formula(*given), [x for x in given if x.requires_grad], g, create_graph=with_graph)
    remaining = iter(found)
    return [next(remaining) if x.requires_grad else None for x in given]


def values_of(x: Tensor, moment: Tensor) -> int:
    """How many values one moment is of; 0 in an empty batch."""
    return x.numel() // max(1, moment.numel())


def for_samples(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ...], so that it broadcasts over the axes of `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
