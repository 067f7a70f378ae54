"""Mixers whose new moments follow a rule of their own: moments, the rule, one affine map."""

from collections.abc import Callable

from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.ops.norms import Norm, group
from torchmoments.ops.reference import Moments

Rule = Callable[[Moments], Moments]


def restyled(x: Tensor, draw: Draw, norm: Norm, eps: float, rule: Rule) -> Tensor:
    """(x - mean) / std * new std + new mean, with the new moments of the batch by `rule`, for the mixed samples.

    Args:
        x: features [B, C, *positions].
        draw: says who is mixed.
        norm: what one moment averages over.
        eps: added to the variance.
        rule: from the moments of all samples to those that each would get; both [B, ...].

    Gradient: through the own moments, and through the new ones as far as `rule` lets it.
    """
    grouped = group(x, norm)
    own = ops.moments_of_view(grouped, eps)
    return grouped.restore(ops.restyle(grouped.view, own, rule(own), mixed=draw.mixed))
