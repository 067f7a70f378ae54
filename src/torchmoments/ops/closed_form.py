"""Moments, renormalization and exchange with a closed-form backward: eager, and with less memory than autograd.

Only x, in its own dtype, and the moments are saved for backward. With h = (x - mean) / std, k = new std / std,
G1 = sum g and G2 = sum g h over the n values of a moment, u and v the own weights of the mean and of the std, and
A, B the sums of (1 - u) G1 and (1 - v) G2 over all samples whose partner is this one:

    dx = k g + (u G1 - k G1 + A) / n + h (v G2 - k G2 + B) / (n - 1)

and with positive_only, where moments are over the n+ positive values with the biased variance:

    dx = k g + 1[x > 0] / n+ (u G1 - k G1 + A + h (v G2 - k G2 + B))

On a CPU the batch is processed in blocks of samples, so that everything but x, g and the result stays in the cache, and
`torch.var_mean` is avoided, which takes about 50 times as long there as computing the mean and then the squares.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.ops.reference import Moments, for_samples, values_of
from torchmoments.ops.settings import Settings
from torchmoments.torch_internals import is_batched

BLOCK = 2**18  # values of a block: 1 MiB in float32
SMALL = 2**15  # values under which autograd of the plain formula is faster on a CPU: fewer calls


def exchange(
    x: Tensor, partner: Tensor, mixed: Tensor | None, own_weight: Tensor | float, settings: Settings
) -> Tensor:
    """`reference.exchange`, with the backward above."""
    if x.device.type == "cpu" and x.numel() < SMALL:
        return reference.exchange(x, partner, mixed, own_weight, settings)
    if mixed is not None and mixed.device.type == "cpu" and bool(mixed.all()):
        mixed = None
    y: Tensor = _Exchange.apply(x, partner, mixed, own_weight, settings)
    return y


def moments(x: Tensor, axes: tuple[int, ...], eps: float) -> Moments:
    """`reference.moments`, with dx = dmean / n + h dstd / (n - 1)."""
    return Moments(*_Moments.apply(x, axes, eps))


def renormalize(x: Tensor, own: Moments, new: Moments, mixed: Tensor | None = None) -> Tensor:
    """`reference.renormalize`, with dx = k g, and -k G1, -k G2, G1, G2 for own.mean, own.std, new.mean, new.std."""
    y: Tensor = _Renormalize.apply(x, *own, *new, mixed)
    return y


def has_closed_form(g: Tensor) -> bool:
    """Whether the closed-form backward can be used for this gradient: not if a gradient of the gradient is needed (the
    saved moments are detached from x, those of the definition are not), nor for a batch of gradients at once."""
    return not torch.is_grad_enabled() and not is_batched(g)


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, partner: Tensor, mixed: Tensor | None, own_weight: Tensor | float, settings: Settings
    ) -> Tensor:
        count: Tensor | None = None
        mask: Tensor | None
        if settings.positive_only:
            own, count = reference.positive_moments(x, settings.axes, settings.eps)
            has_moments = (count > 0) & (count > 0)[partner]
            mask = has_moments if mixed is None else has_moments & for_samples(mixed, count)
        else:
            own = _moments(x, settings.axes, settings.eps)
            mask = None if mixed is None else for_samples(mixed, own.mean)
        new = reference.blend(own, own, partner, *reference.weights_of(own_weight, settings.moment))
        ctx.save_for_backward(x, partner, mixed, own.mean, own.std, new.std, mask, count)
        ctx.own_weight = own_weight
        ctx.settings = settings
        return _renormalize(x, *reference.affine(own, new, mask))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, partner, mixed, mean, std, new_std, mask, count = ctx.saved_tensors
        settings: Settings = ctx.settings
        if not has_closed_form(g):
            return (
                *reference.gradients(
                    lambda x: reference.exchange(x, partner, mixed, ctx.own_weight, settings), [x], [g]
                ),
                *[None] * 4,
            )
        g1, g2 = _sums(x, g, mean, std, settings.axes)
        weight = ctx.own_weight
        if isinstance(weight, Tensor):
            weight = for_samples(weight, mean).to(mean.dtype)
        weights = reference.weights_of(weight, settings.moment)
        k, c1, c2 = coefficients(g1, g2, new_std / std, partner, mask, weights, settings.grad)
        if settings.positive_only:
            divisor = count.clamp(min=1)
            return (_gradient(x, g, mean, k, c1 / divisor, c2 / divisor / std, only_positive=True), *[None] * 4)
        n = values_of(x, mean)
        return (_gradient(x, g, mean, k, c1 / n, c2 / (n - 1) / std), *[None] * 4)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
        own = _moments(x, axes, eps)
        ctx.save_for_backward(x, *own)
        ctx.settings = (axes, eps)
        return own.mean, own.std

    @staticmethod
    def backward(ctx: Any, g_mean: Tensor, g_std: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, std = ctx.saved_tensors
        if not (has_closed_form(g_mean) and has_closed_form(g_std)):
            return (
                *reference.gradients(lambda x: reference.moments(x, *ctx.settings), [x], [g_mean, g_std]),
                None,
                None,
            )
        n = values_of(x, mean)
        return _renormalize(x, mean, g_std / std / (n - 1), g_mean / n), None, None


class _Renormalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, std: Tensor, new_mean: Tensor, new_std: Tensor, mixed: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, mean, std, new_mean, new_std, mixed)
        return _renormalize(x, *reference.affine(Moments(mean, std), Moments(new_mean, new_std), mixed))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *given, mixed = ctx.saved_tensors
        if not has_closed_form(g):
            return (*reference.renormalize_gradients(g, x, given, mixed), None)
        mean, std, _, new_std = given
        k = new_std / std
        if mixed is not None:
            k = torch.where(mixed, k, 1.0)
        dx = _renormalize(g, torch.zeros_like(k), k, torch.zeros_like(k)) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:5]):
            return (dx, *[None] * 5)
        g1, g2 = _sums(x, g, mean, std, reference.reduced_axes(*given))
        if mixed is not None:
            g1, g2 = torch.where(mixed, g1, 0.0), torch.where(mixed, g2, 0.0)
        gradients = (-k * g1, -k * g2, g1, g2)
        return (dx, *(part.sum_to_size(m.shape) for part, m in zip(gradients, given, strict=True)), None)


def coefficients(
    g1: Tensor,
    g2: Tensor,
    k: Tensor,
    partner: Tensor,
    mask: Tensor | None,
    weights: tuple[Tensor | float, Tensor | float],
    grad: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The coefficients of the backward: k, u G1 - k G1 + A and v G2 - k G2 + B, for the gradients that `grad` includes,
    with the own weights u of the mean and v of the std. All have the shape of a moment."""
    u, v = weights
    if mask is not None:
        k = torch.where(mask, k, 1.0)
        g1 = torch.where(mask, g1, 0.0)
        g2 = torch.where(mask, g2, 0.0)
    c1, c2 = torch.zeros_like(g1), torch.zeros_like(g2)
    if grad in ("both", "own"):
        c1 += (u - k) * g1
        c2 += (v - k) * g2
    if grad in ("both", "donor"):
        c1.index_add_(0, partner, (1 - u) * g1)
        c2.index_add_(0, partner, (1 - v) * g2)
    return k, c1, c2


def _moments(x: Tensor, axes: tuple[int, ...], eps: float) -> Moments:
    if x.device.type != "cpu":
        return reference.moments(x, axes, eps)
    means, variances = [], []
    for block, buffer in _blocks(x):
        part = x[block].to(buffer.dtype)
        mean = part.mean(axes, keepdim=True)
        means.append(mean)
        deviations = torch.sub(part, mean, out=buffer)
        variances.append(deviations.mul_(deviations).sum(axes, keepdim=True))
    mean = _joined(means)
    return Moments(mean, _joined(variances).div_(values_of(x, mean) - 1).add_(eps).sqrt_())


def _renormalize(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(x - mean) * scale + shift, in x's dtype."""
    mean, scale, shift = (m.expand(x.shape[0], *m.shape[1:]) for m in (mean, scale, shift))
    y = torch.empty_like(x)
    for block, buffer in _blocks(x):
        into = y[block] if y.dtype == buffer.dtype else buffer
        moved = torch.sub(x[block], mean[block], out=into).mul_(scale[block]).add_(shift[block])
        if into is buffer:
            y[block] = moved
    return y


def _sums(x: Tensor, g: Tensor, mean: Tensor, std: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """G1 and G2."""
    mean, std = (m.expand(x.shape[0], *m.shape[1:]) for m in (mean, std))
    g1, g2 = [], []
    for block, buffer in _blocks(x):
        part = g[block].to(buffer.dtype)
        product = torch.sub(x[block], mean[block], out=buffer).mul_(part)
        # A sum over no axes would sum over all axes. The buffer is reused.
        g1.append(part.sum(axes, keepdim=True) if axes else part.clone())
        g2.append(product.sum(axes, keepdim=True) if axes else product.clone())
    return _joined(g1), _joined(g2).div_(std)


def _gradient(
    x: Tensor, g: Tensor, mean: Tensor, k: Tensor, c1: Tensor, c2: Tensor, *, only_positive: bool = False
) -> Tensor:
    """k g + c1 + c2 (x - mean), the last two only where x > 0 if `only_positive`."""
    dx = torch.empty_like(x)
    for block, buffer in _blocks(x):
        moved = torch.sub(x[block], mean[block], out=buffer).mul_(c2[block]).add_(c1[block])
        if only_positive:
            moved.masked_fill_(x[block] <= 0, 0)
        if dx.dtype == buffer.dtype:
            # Two steps: addcmul is slow on a CPU if k is broadcast along the last axis.
            torch.mul(g[block], k[block], out=dx[block]).add_(moved)
        else:
            dx[block] = moved.add_(g[block] * k[block])
    return dx


def _blocks(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Split the batch into blocks that fit in a CPU's cache, with one buffer; into a single block on other devices."""
    samples = x.shape[0]
    step = max(1, BLOCK // max(1, math.prod(x.shape[1:]))) if x.device.type == "cpu" else samples
    buffer = torch.empty_like(x[:step], dtype=reference.statistics_type(x))
    for start in range(0, samples, step):
        yield slice(start, start + step), buffer[: min(step, samples - start)]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
