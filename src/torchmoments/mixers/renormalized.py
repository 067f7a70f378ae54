"""The computation shared by mixers with a rule on moments: moments, the rule, one affine map."""

from collections.abc import Callable

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.ops import reference
from torchmoments.ops.norms import Norm, group
from torchmoments.ops.reference import Moments, for_samples

# (moments of all samples, whether they exist) -> (new moments of all samples, whether these exist), each [B, ...].
# None instead of whether they exist means that all do, as without a mask.
Rule = Callable[[Moments, Tensor | None], tuple[Moments, Tensor | None]]


def renormalized(x: Tensor, draw: Draw, norm: Norm, eps: float, rule: Rule, mask: Tensor | None = None) -> Tensor:
    """Compute (x - mean) / std * new std + new mean for the mixed samples, with new moments from `rule`.

    Args:
        x: features [B, C, *positions].
        draw: which samples are mixed.
        norm: the values that one moment averages over.
        eps: added to the variance.
        rule: computes the new moments.
        mask: [B, *positions], False or 0 for padding, see `torchmoments.exchange`.

    Gradient: through the own moments, and through the new ones unless `rule` detaches them.
    """
    # Cast once, so that gradients through the moments and around them are added before rounding.
    values = x.to(reference.statistics_type(x))
    grouped = group(values, norm)
    if mask is None:
        own = ops.moments_of_view(grouped, eps)
        new, _ = rule(own, None)
        return grouped.restore(ops.renormalize(grouped.view, own, new, mixed=draw.mixed)).to(x.dtype)
    real = ops.real_values(grouped, mask)
    clean = torch.where(real, grouped.view, 0)
    own, exist = reference.moments_of(clean, real.expand_as(clean), grouped.axes, eps, unbiased=True)
    new, given = rule(own, exist)
    changed = exist if given is None else exist & given
    if draw.mixed is not None:
        changed = changed & for_samples(draw.mixed, changed)
    y = reference.renormalize(clean, own, new, changed)
    return grouped.restore(torch.where(real, y, grouped.view)).to(x.dtype)
