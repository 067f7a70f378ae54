"""RandomMoments: a control whose features get moments of the batch that belong to nobody.

Not published; made to ask whether it matters in Moment Exchange that moments and label come from one sample.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.hashing import KeyedDraw, uniform_noise, with_keys
from torchmoments.mixers.mixer import LabelFrom, Mixer, check_positive, of_kind
from torchmoments.mixers.restyled import restyled
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.reference import Moments


class RandomMoments(Mixer):
    """Moments of equal spread over the batch, without a donor.

    out[b, m] = (x[b, m] - mean[b, m]) / std[b, m] * std[d, m] + mean[d, m],   d = permutation_m[b]

    with a permutation of the batch of its own for each moment m (each position of "pono", each channel of "in"). So
    every moment is as likely as in `MoEx`, and those that a sample gets come from many samples.

    Gradient: through the own moments and through those given.

    Args:
        norm: what one moment averages over, see `torchmoments.moments`.
        p: probability that a batch is mixed.
        lam: weight of a sample's own label in a mixed batch.
        eps: added to the variance, in units of the features squared.
        label_from: whose label has the rest: "other", that of another sample, because there is no donor.
        per_sample: p is that of each sample, not of the batch.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.
    """

    norm: Norm = "pono"
    p: float = 0.5
    lam: float = 0.9
    eps: float = 1e-5
    label_from: LabelFrom = dataclasses.field(default="other", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    partner: ClassVar[None] = None  # type: ignore[misc]
    applies_mixed: ClassVar[bool] = True

    def _check_options(self) -> None:
        super()._check_options()
        check_positive("eps", self.eps)
        check_norm(self.norm)

    def decide(self, draw: Draw, generator: torch.Generator) -> KeyedDraw:
        return with_keys(draw, generator)

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        key = of_kind(draw, KeyedDraw).key

        return restyled(x, draw, self.norm, self.eps, lambda own, exist: _shuffled(key, own, exist), mask)


def _shuffled(key: Tensor, own: Moments, exist: Tensor | None) -> tuple[Moments, Tensor | None]:
    donor = permutations(key, own.mean, exist)
    return Moments(own.mean.gather(0, donor), own.std.gather(0, donor)), None


def permutations(key: Tensor, like: Tensor, exist: Tensor | None) -> Tensor:
    """A random permutation of the batch for each moment, int64 [B, ...] like `like`, of the samples that have it.

    Samples without it get an index that means nothing.
    """
    scores = uniform_noise(key, like)[0]
    if exist is None:
        return scores.argsort(dim=0)
    # The samples that have it come first, in random order; each gets the one at its own place among them.
    order = torch.where(exist, scores, 2.0).argsort(dim=0)
    return order.gather(0, (exist.cumsum(0) - 1).clamp(min=0))
