"""Mixers whose new moments follow a rule of their own: moments, the rule, one affine map."""

from collections.abc import Callable

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.ops import reference
from torchmoments.ops.norms import Norm, group
from torchmoments.ops.reference import Moments, for_samples

# (moments of all samples, whether they exist) -> (moments that each would get, whether these exist), [B, ...] all four.
# Without a mask all exist, which is said by None.
Rule = Callable[[Moments, Tensor | None], tuple[Moments, Tensor | None]]


def restyled(x: Tensor, draw: Draw, norm: Norm, eps: float, rule: Rule, mask: Tensor | None = None) -> Tensor:
    """(x - mean) / std * new std + new mean, with the new moments of the batch by `rule`, for the mixed samples.

    Args:
        x: features [B, C, *positions].
        draw: says who is mixed.
        norm: what one moment averages over.
        eps: added to the variance.
        rule: what the method does to moments.
        mask: [B, *positions], which of them are no padding, see `torchmoments.exchange`.

    Gradient: through the own moments, and through the new ones as far as `rule` lets it.
    """
    # Cast once: what flows through the moments and what flows past them is added before it is rounded.
    values = x.to(reference.statistics_type(x))
    grouped = group(values, norm)
    if mask is None:
        own = ops.moments_of_view(grouped, eps)
        new, _ = rule(own, None)
        return grouped.restore(ops.restyle(grouped.view, own, new, mixed=draw.mixed)).to(x.dtype)
    real = ops.real_values(grouped, mask)
    clean = torch.where(real, grouped.view, 0)
    own, exist = reference.moments_of(clean, real.expand_as(clean), grouped.axes, eps, unbiased=True)
    new, given = rule(own, exist)
    changed = exist if given is None else exist & given
    if draw.mixed is not None:
        changed = changed & for_samples(draw.mixed, changed)
    y = reference.restyle(clean, own, new, changed)
    return grouped.restore(torch.where(real, y, grouped.view)).to(x.dtype)
