"""The exchange with its backward in closed form: eager, and about half the memory of autograd.

Only x, in its own dtype, and the moments are kept. With h = (x - mean) / std, k = new std / std,
G1 = sum g and G2 = sum g h over the n values of a moment, u and v the own weights of the mean and of the std, and
A, B the sums of (1 - u) G1 and (1 - v) G2 over all samples whose partner is this one:

    dx = k g + (u G1 - k G1 + A) / n + h (v G2 - k G2 + B) / (n - 1)

and with positive_only, whose moments are of the n+ values over zero with the biased variance:

    dx = k g + 1[x > 0] / n+ (u G1 - k G1 + A + h (v G2 - k G2 + B))
"""

from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.ops.reference import Moments, for_samples


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
    """`reference.exchange`, with the backward above."""
    y: Tensor = _Exchange.apply(x, partner, mixed, own_weight, axes, eps, grad, positive_only, moment)
    return y


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
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
        count: Tensor | None = None
        mask: Tensor | None
        if positive_only:
            own, count = reference.positive_moments(x, axes, eps)
            has_moments = (count > 0) & (count > 0)[partner]
            mask = has_moments if mixed is None else has_moments & for_samples(mixed, count)
        else:
            own = reference.moments(x, axes, eps)
            mask = None if mixed is None else for_samples(mixed, own.mean)
        new = reference.blend(own, own, partner, *reference.weights_of(own_weight, moment))
        y = _restyle_in_one_buffer(x, own, new, mask)
        ctx.save_for_backward(x, partner, mixed, own.mean, own.std, new.std, mask, count)
        ctx.own_weight = own_weight
        ctx.settings = (axes, eps, grad, positive_only, moment)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, partner, mixed, mean, std, new_std, mask, count = ctx.saved_tensors
        axes, _, grad, positive_only, moment = ctx.settings
        if torch.is_grad_enabled():
            # A gradient of this gradient was asked for: the saved moments are cut off from x, the definition is not.
            y = reference.exchange(x, partner, mixed, ctx.own_weight, *ctx.settings)
            (dx,) = torch.autograd.grad(y, x, g, create_graph=True)
            return (dx, *[None] * 8)

        g = g.to(mean.dtype)
        h = x.to(mean.dtype).sub(mean).div_(std)
        g1 = g.sum(axes, keepdim=True)
        g2 = (g * h).sum(axes, keepdim=True)
        weight = ctx.own_weight
        if isinstance(weight, Tensor):
            weight = for_samples(weight, mean).to(mean.dtype)
        k, c1, c2 = coefficients(g1, g2, new_std / std, partner, mask, (weight, weight), grad)
        if positive_only:
            moved = h.mul_(c2).add_(c1).div_(count.clamp(min=1)).masked_fill_(x <= 0, 0)
        else:
            n = x[0].numel() // mean[0].numel()
            moved = h.mul_(c2 / (n - 1)).add_(c1 / n)
        dx = moved.addcmul_(g, k).to(x.dtype)
        return (dx, *[None] * 8)


def coefficients(
    g1: Tensor,
    g2: Tensor,
    k: Tensor,
    partner: Tensor,
    mask: Tensor | None,
    weights: tuple[Tensor | float, Tensor | float],
    grad: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the backward multiplies: k, and with the own weights u of the mean and v of the std u G1 - k G1 + A and
    v G2 - k G2 + B, as far as `grad` says. All have the shape of a moment."""
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


def _restyle_in_one_buffer(x: Tensor, own: Moments, new: Moments, mask: Tensor | None) -> Tensor:
    mean, scale, shift = reference.affine(own, new, mask)
    return (x.to(mean.dtype) - mean).mul_(scale).add_(shift).to(x.dtype)
