"""Moments of features, and their exchange between samples.

This file is the definition, in plain differentiable PyTorch. `closed_form.py` computes the same with an explicit
backward, and `tests/ops` checks that values and gradients agree. If they differ, this file is right.

Features x are a view returned by `norms.group`: axis 0 is the batch, and one moment reduces the given axes. Half types
are cast once, at the top of a formula: each cast rounds the gradient that flows back through it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchmoments.ops.settings import Settings
from torchmoments.ranks import Index, take


class Moments(NamedTuple):
    """Mean and standard deviation, each broadcasting against the features."""

    mean: Tensor
    std: Tensor


def statistics_type(x: Tensor) -> torch.dtype:
    """The dtype of statistics: float32 for half types; float32 and float64 are kept."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def moments(x: Tensor, axes: tuple[int, ...], eps: float) -> Moments:
    """mean = sum(x) / n and std = sqrt(sum((x - mean)^2) / (n - 1) + eps), over `axes`."""
    x = x.to(statistics_type(x))
    if x.device.type == "cpu":
        # On a CPU var_mean takes up to 50 times as long as the mean and then the squares, compiled up to twice as long.
        mean = x.mean(axes, keepdim=True)
        variance = (x - mean).square().sum(axes, keepdim=True) / (values_of(x, mean) - 1)
    else:
        variance, mean = torch.var_mean(x, dim=axes, keepdim=True)
    return Moments(mean, (variance + eps).sqrt())


def moments_of(
    x: Tensor, counted: Tensor, axes: tuple[int, ...], eps: float, *, unbiased: bool
) -> tuple[Moments, Tensor]:
    """Compute moments of the values that are counted, and whether there are enough of them: two with the unbiased
    variance, one with the biased one.

    This takes two passes: the published one-pass form loses all digits at large offsets.
    """
    x = x.to(statistics_type(x))
    count = counted.sum(axes, keepdim=True)
    mean = torch.where(counted, x, 0).sum(axes, keepdim=True) / count.clamp(min=1)
    squares = torch.where(counted, (x - mean).square(), 0).sum(axes, keepdim=True)
    variance = squares / (count - int(unbiased)).clamp(min=1)
    return Moments(mean, (variance + eps).sqrt()), count > int(unbiased)


def positive_moments(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Moments, Tensor]:
    """Compute moments of the positive values, with the biased variance, and the number of values in each."""
    own, _ = moments_of(x, x > 0, axes, eps, unbiased=False)
    return own, (x > 0).sum(axes, keepdim=True)


def renormalize(x: Tensor, own: Moments, new: Moments, mixed: Tensor | None = None) -> Tensor:
    """Compute (x - own.mean) / own.std * new.std + new.mean, in x's dtype; where `mixed` is False, x bit for bit.

    The choice is made on the small moments: 1 * (x - 0) + (-0.0) is x, also for x = -0.0.
    """
    mean, scale, shift = affine(own, new, mixed)
    return ((x.to(mean.dtype) - mean) * scale + shift).to(x.dtype)


def renormalize_gradients(g: Tensor, x: Tensor, given: Sequence[Tensor], mixed: Tensor | None) -> list[Tensor | None]:
    """Compute the gradients of x and of own.mean, own.std, new.mean, new.std, by autograd."""

    def formula(x: Tensor, mean: Tensor, std: Tensor, new_mean: Tensor, new_std: Tensor) -> Tensor:
        return renormalize(x, Moments(mean, std), Moments(new_mean, new_std), mixed)

    return gradients(formula, [x, *given], [g])


def reduced_axes(*moments: Tensor) -> tuple[int, ...]:
    """Return the axes, except the batch, along which none of the moments varies."""
    return tuple(axis for axis in range(1, moments[0].ndim) if all(m.shape[axis] == 1 for m in moments))


def affine(own: Moments, new: Moments, mixed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return (mean, scale, shift) of the map (x - mean) * scale + shift, the identity where `mixed` is False."""
    mean, scale, shift = own.mean, new.std / own.std, new.mean
    if mixed is not None:
        mean = torch.where(mixed, mean, 0.0)
        scale = torch.where(mixed, scale, 1.0)
        shift = torch.where(mixed, shift, -0.0)
    return mean, scale, shift


def exchange(
    x: Tensor,
    partner: Index,
    mixed: Tensor | None,
    own_weight: Tensor | float,
    settings: Settings,
    real: Tensor | None = None,
) -> Tensor:
    """Renormalize each sample with w * its own moments + (1 - w) * its partner's; w is 1 if `moment` excludes it.

    Args:
        real: bool, broadcasts against x, False for padding, which is excluded from moments and not changed.
    """
    values = x.to(statistics_type(x))
    if real is not None:
        # Padding may contain NaN, and 0 * NaN is NaN.
        values = torch.where(real, values, 0)
    mask = None if mixed is None else for_samples(mixed, x)
    if real is None and not settings.positive_only:
        own = moments(values, settings.axes, settings.eps)
    else:
        own, has_moments = _partial_moments(values, settings, real)
        both = has_moments & take(has_moments, partner)
        mask = both if mask is None else both & mask
    kept, given = kept_and_given(own, settings.grad)
    new = blend(kept, given, partner, *weights_of(own_weight, settings.moment))
    y = renormalize(values, kept, new, mask).to(x.dtype)
    return y if real is None else torch.where(real, y, x)


def kept_and_given(own: Moments, grad: str) -> tuple[Moments, Moments]:
    """Return the moments as the sample's own and as its partner's: detached if `grad` excludes them."""
    detached = Moments(own.mean.detach(), own.std.detach())
    return own if grad in ("both", "own") else detached, own if grad in ("both", "donor") else detached


def _partial_moments(values: Tensor, settings: Settings, real: Tensor | None) -> tuple[Moments, Tensor]:
    counted = values > 0 if settings.positive_only else torch.ones_like(values, dtype=torch.bool)
    if real is not None:
        counted = counted & real
    return moments_of(values, counted, settings.axes, settings.eps, unbiased=not settings.positive_only)


def weights_of(own_weight: Tensor | float, moment: str) -> tuple[Tensor | float, Tensor | float]:
    """Return the own weights of the mean and of the standard deviation: 1 for one that is not exchanged."""
    return 1.0 if moment == "std" else own_weight, 1.0 if moment == "mean" else own_weight


def blend(
    own: Moments, given: Moments, partner: Index, mean_weight: Tensor | float, std_weight: Tensor | float
) -> Moments:
    """Compute w * own + (1 - w) * given[partner], for means and for standard deviations (not variances)."""
    return Moments(
        _blend(own.mean, given.mean, partner, mean_weight),
        _blend(own.std, given.std, partner, std_weight),
    )


def _blend(own: Tensor, given: Tensor, partner: Index, weight: Tensor | float) -> Tensor:
    if isinstance(weight, float):
        if weight == 1.0:
            return own
        if weight == 0.0:
            return take(given, partner)
    else:
        weight = for_samples(weight, own).to(own.dtype)
    return weight * own + (1 - weight) * take(given, partner)


def gradients(formula: Callable[..., Any], inputs: Sequence[Tensor], g: Sequence[Tensor]) -> list[Tensor | None]:
    """Compute the gradients of `formula(*inputs)` by autograd, for a backward without a closed form for them; with a
    graph if a gradient of the gradient is needed. None for inputs that require no gradient.

    Aliases of the inputs are used: inputs may depend on each other, and those paths are not part of the formula.
    """
    with_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [x.view_as(x) if with_graph else x.detach().requires_grad_(x.requires_grad) for x in inputs]
        found = torch.autograd.grad(formula(*given), [x for x in given if x.requires_grad], g, create_graph=with_graph)
    remaining = iter(found)
    return [next(remaining) if x.requires_grad else None for x in given]


def values_of(x: Tensor, moment: Tensor) -> int:
    """Return the number of values in one moment; 0 for an empty batch."""
    return x.numel() // max(1, moment.numel())


def for_samples(values: Tensor, like: Tensor) -> Tensor:
    """Reshape [B] to [B, 1, ...], so that it broadcasts over the axes of `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
