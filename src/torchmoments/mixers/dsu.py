"""DSU: features get moments drawn around their own, with the spread that moments have in the batch.

Source: Li et al., "Uncertainty Modeling for Out-of-Distribution Generalization", ICLR 2022, arXiv 2202.03958.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.hashing import KeyedDraw, normal_noise, with_keys
from torchmoments.mixers.mixer import LabelFrom, Mixer, check_positive, checked_kind
from torchmoments.mixers.renormalized import renormalized
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.reference import Moments, moments_of


class DSU(Mixer):
    """Domain shifts with uncertainty.

        out[b] = (x[b] - mean[b]) / std[b] * (std[b] + n1 S_std) + mean[b] + n2 S_mean

    with n1, n2 ~ N(0, 1) for each moment of each sample, and S the spread of that moment over all B samples,
    sqrt(variance + eps), with the unbiased variance. There are no partners. As published, the new std can be negative.

    Gradient: through all moments of the batch, including those in the spread.

    Args:
        p: probability that a batch is mixed, at each place.
        eps: added to the variances of features and of moments, in units of their squares.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label gets the remaining weight: "other", another sample's, because there is no donor.
        norm: the values that one moment averages over, see `torchmoments.moments`; "in" is style.
        per_sample: apply p to each sample instead of the batch. The spread is always that of the whole batch.

    Raises:
        ValueError: an argument is invalid.

    Source: Li et al., "Uncertainty Modeling for Out-of-Distribution Generalization", ICLR 2022.
    """

    p: float = 0.5
    eps: float = dataclasses.field(default=1e-6, kw_only=True)
    lam: float = dataclasses.field(default=1.0, kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="other", kw_only=True)
    norm: Norm = dataclasses.field(default="in", kw_only=True)
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
        # A single sample has no spread.
        if x.shape[0] < 2:
            return x
        return renormalized(x, draw, self.norm, self.eps, lambda own, exist: self._around(key, own, exist), mask)

    def _around(self, key: Tensor, own: Moments, exist: Tensor | None) -> tuple[Moments, Tensor | None]:
        n1, n2 = normal_noise(key, own.mean)
        of_mean, enough = self._spread(own.mean, exist)
        of_std, _ = self._spread(own.std, exist)
        return Moments(own.mean + n2 * of_mean, own.std + n1 * of_std), enough

    def _spread(self, moment: Tensor, exist: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the spread of a moment over the samples that have it, [1, ...], and whether there are at least two."""
        if exist is None:
            return (moment.var(0, keepdim=True) + self.eps).sqrt(), None
        own, enough = moments_of(moment, exist, (0,), self.eps, unbiased=True)
        return own.std, enough
