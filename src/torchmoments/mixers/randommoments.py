"""RandomMoments: a control in which the moments that a sample gets come from many samples of the batch.

Unpublished; it tests whether it matters in Moment Exchange that moments and label come from one sample.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.hashing import KeyedDraw, uniform_noise, with_keys
from torchmoments.mixers.mixer import LabelFrom, Mixer, check_positive, checked_kind
from torchmoments.mixers.renormalized import renormalized
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.reference import Moments


class RandomMoments(Mixer):
    """Moments with the same distribution over the batch, but without a single donor.

        out[b, m] = (x[b, m] - mean[b, m]) / std[b, m] * std[d, m] + mean[d, m],   d = permutation_m[b]

    with a separate permutation of the batch for each moment m (each position of "pono", each channel of "in"). So each
    moment has the same distribution as in `MoEx`, but those that a sample gets come from many samples.

    Gradient: through the own moments and through the new ones.

    Args:
        norm: the values that one moment averages over, see `torchmoments.moments`.
        p: probability that a batch is mixed.
        lam: weight of a sample's own label in a mixed batch.
        eps: added to the variance, in units of the features squared.
        label_from: whose label gets the remaining weight: "other", another sample's, because there is no donor.
        per_sample: apply p to each sample instead of the batch.

    Raises:
        ValueError: an argument is invalid.
    """

    norm: Norm = "pono"
    p: float = 0.5
    lam: float = 0.9
    eps: float = 1e-5
    label_from: LabelFrom = dataclasses.field(default="other", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    partner: ClassVar[None] = None  # type: ignore[misc]
    handles_unmixed: ClassVar[bool] = True

    def _check_options(self) -> None:
        super()._check_options()
        check_positive("eps", self.eps)
        check_norm(self.norm)

    def decide(self, draw: Draw, generator: torch.Generator) -> KeyedDraw:
        return with_keys(draw, generator)

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        key = checked_kind(draw, KeyedDraw).key

        return renormalized(x, draw, self.norm, self.eps, lambda own, exist: _shuffled(key, own, exist), mask)


def _shuffled(key: Tensor, own: Moments, exist: Tensor | None) -> tuple[Moments, Tensor | None]:
    donor = permutations(key, own.mean, exist)
    return Moments(own.mean.gather(0, donor), own.std.gather(0, donor)), None


def permutations(key: Tensor, like: Tensor, exist: Tensor | None) -> Tensor:
    """Draw a permutation of the samples that have a moment, for each moment, int64 [B, ...] in the shape of `like`.

    Samples without the moment get an arbitrary index.
    """
    scores = uniform_noise(key, like)[0]
    if exist is None:
        return scores.argsort(dim=0)
    # The samples that have the moment are sorted to the front, in random order; the n-th of them gets the n-th.
    order = torch.where(exist, scores, 2.0).argsort(dim=0)
    return order.gather(0, (exist.cumsum(0) - 1).clamp(min=0))
