"""Permuted AdaIN: occasionally, features get their partner's style, without a gradient to the partner.

Source: Nuriel et al., "Permuted AdaIN: Reducing the Bias Towards Global Statistics in Image Classification",
CVPR 2021, arXiv 2010.05785.
"""

import dataclasses
import math
from typing import ClassVar

from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.mixer import LabelFrom, Mixer, check_positive
from torchmoments.mixers.renormalized import renormalized
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.reference import Moments
from torchmoments.partners import Partner
from torchmoments.ranks import take


class PermutedAdaIN(Mixer):
    """Permuted adaptive instance normalization.

        out[b] = (x[b] - mean[b]) / (std[b] + eps) * std[partner[b]] + mean[partner[b]]

    As published, eps is added twice: inside std and to it. Self-pairs are skipped. Maps with a single position pass
    unchanged.

    Gradient: through the own moments, not through the partner's.

    Args:
        p: probability that a batch is mixed, at each place; published for every convolution except those in shortcuts.
        eps: added to the variance, in units of the features squared, and to the own standard deviation.
        partner: as in `MoEx`.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label gets the remaining weight, "donor" or "other", see `MoEx`.
        norm: the values that one moment averages over, see `torchmoments.moments`; "in" is style.
        per_sample: apply p to each sample instead of the batch.

    Raises:
        ValueError: an argument is invalid.

    Source: Nuriel et al., "Permuted AdaIN", CVPR 2021.
    """

    p: float = 0.01
    eps: float = dataclasses.field(default=1e-5, kw_only=True)
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    lam: float = dataclasses.field(default=1.0, kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    norm: Norm = dataclasses.field(default="in", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    # Because eps is added twice, a sample's own style would not be quite the identity.
    skips_self_pairs: ClassVar[bool] = True
    handles_unmixed: ClassVar[bool] = True
    exchanges_over_ranks: ClassVar[bool] = True

    def _check_options(self) -> None:
        super()._check_options()
        check_positive("eps", self.eps)
        check_norm(self.norm)

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        if x.ndim > 2 and math.prod(x.shape[2:]) == 1:
            return x
        return renormalized(x, draw, self.norm, self.eps, lambda own, exist: self._of_partner(draw, own, exist), mask)

    def _of_partner(self, draw: Draw, own: Moments, exist: Tensor | None) -> tuple[Moments, Tensor | None]:
        mean, std = take(own.mean.detach(), draw.partner), take(own.std.detach(), draw.partner)
        new = Moments(mean, std * own.std / (own.std + self.eps))
        return new, None if exist is None else take(exist, draw.partner)
