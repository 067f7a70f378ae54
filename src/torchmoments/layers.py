"""Layers that use moments for other purposes than augmentation: they remove, pass on or replace them.

Features are [B, C, *positions].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchmoments import ops
from torchmoments.ops.norms import Norm, check_norm, group
from torchmoments.ops.reference import Moments, statistics_type


class PONO(nn.Module):
    """Positional normalization: normalize every position over its channels, and also return the moments.

        normalized = (x - mean) / std * weight + bias,   moments over the channels

    Args:
        affine: the shape of the positions, such as (32, 32), to learn a weight and a bias for each position, of shape
            [1, 1, 32, 32]; None for neither.
        norm: the norm to use instead of "pono", see `torchmoments.moments`.
        eps: added to the variance, in units of x squared.

    Called with x; returns (normalized, mean, std): normalized has the shape and dtype of x, and the moments broadcast
    against it. `MomentShortcut` adds them back later in the network.

    Gradient: flows to x through all three.

    Source: Li et al., "Positional Normalization", NeurIPS 2019, arXiv 1907.04312.
    """

    def __init__(self, affine: Sequence[int] | None = None, *, norm: Norm = "pono", eps: float = 1e-5) -> None:
        super().__init__()
        check_norm(norm)
        self.norm = norm
        self.eps = eps
        self.weight = None if affine is None else nn.Parameter(torch.ones(1, 1, *affine))
        self.bias = None if affine is None else nn.Parameter(torch.zeros(1, 1, *affine))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normalized, (mean, std) = ops.normalize(x, self.norm, eps=self.eps)
        if self.weight is not None and self.bias is not None:
            if x.shape[2:] != self.weight.shape[2:]:
                raise ValueError(
                    f"this PONO has a weight for each of {list(self.weight.shape[2:])} positions; got features of "
                    f"shape {list(x.shape)}. Use PONO(affine={tuple(x.shape[2:])})."
                )
            normalized = (normalized * self.weight + self.bias).to(x.dtype)
        return normalized, mean, std

    def extra_repr(self) -> str:
        affine = None if self.weight is None else tuple(self.weight.shape[2:])
        return f"affine={affine}, norm={self.norm!r}, eps={self.eps}"


class MomentShortcut(nn.Module):
    """Add back moments that an earlier layer of the same resolution removed: y = x * std + mean, out of place.

    Called with x [B, C, *positions], and mean and std as returned by `PONO` (C may differ); returns a tensor with the
    shape and dtype of x.

    Gradient: flows to all three.

    Raises:
        ValueError: the moments do not broadcast against x.

    Source: Li et al., "Positional Normalization", NeurIPS 2019.
    """

    def forward(self, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        for name, moment in (("mean", mean), ("std", std)):
            if not _broadcasts(moment, x):
                raise ValueError(
                    f"{name} needs to broadcast against features of shape {list(x.shape)}; got {list(moment.shape)}. "
                    "Use the moments of a layer with the same positions."
                )
        return ops.denormalize(x, Moments(mean, std))


class AdaIN(nn.Module):
    """Adaptive instance normalization: give content the moments of style.

        y = (content - mean(content)) / std(content) * std(style) + mean(style)

    Args:
        norm: the values that one moment averages over, see `torchmoments.moments`; "in" is style.
        eps: added to the variance, in units of the features squared.

    Called with content [B, C, *positions] and style, [B, C, *positions of any shape] or [1, C, ...]; returns a tensor
    with the shape and dtype of content.

    Gradient: flows to both.

    Raises:
        ValueError: the moments of style do not broadcast against content.

    Source: Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017.
    """

    def __init__(self, norm: Norm = "in", *, eps: float = 1e-5) -> None:
        super().__init__()
        check_norm(norm)
        self.norm = norm
        self.eps = eps

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        ops.check_features(content)
        values = content.to(statistics_type(content))
        grouped, of_style = group(values, self.norm), group(style, self.norm)
        own, new = (ops.moments_of_view(g, self.eps) for g in (grouped, of_style))
        if not _broadcasts(new.mean, grouped.view):
            raise ValueError(
                f"style needs the samples and channels of content, shape {list(content.shape)}; got "
                f"{list(style.shape)}. Use one style per sample, or one for all, [1, C, ...]."
            )
        return grouped.restore(ops.renormalize(grouped.view, own, new)).to(content.dtype)

    def extra_repr(self) -> str:
        return f"norm={self.norm!r}, eps={self.eps}"


def _broadcasts(moment: Tensor, x: Tensor) -> bool:
    return moment.ndim == x.ndim and all(m in (1, n) for m, n in zip(moment.shape, x.shape, strict=True))
