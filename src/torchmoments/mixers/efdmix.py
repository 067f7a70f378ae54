"""EFDMix: features get their partner's whole distribution of values, by rank, instead of two of its moments.

Source: Zhang et al., "Exact Feature Distribution Matching for Arbitrary Style Transfer and Domain Generalization",
CVPR 2022, arXiv 2203.07740.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.mixer import LabelFrom, Mixer, beta_weights, check_positive
from torchmoments.ops.norms import group
from torchmoments.ops.reference import for_samples, statistics_type
from torchmoments.partners import Partner
from torchmoments.ranks import take


class EFDMix(Mixer):
    """Exact feature distribution mixing.

    out[b, c, s] = w x[b, c, s] + (1 - w) v[r(s)]

    with v the sorted values of channel c of the partner, r(s) the rank of x[b, c, s] in its own channel (ties by
    position), and w ~ Beta(alpha, alpha) per sample. Self-pairs are skipped.

    Gradient: 1 with respect to x, as if ranks were constants (straight-through), and (1 - w) with respect to the
    partner's values.

    Args:
        p: probability that a batch is mixed, at each place.
        alpha: parameter of the Beta distribution.
        partner: as in `MoEx`.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label gets the remaining weight, "donor" or "other", see `MoEx`.
        per_sample: apply p to each sample instead of the batch.

    Raises:
        ValueError: an argument is invalid.

    Source: Zhang et al., "Exact Feature Distribution Matching", CVPR 2022.
    """

    p: float = 0.5
    alpha: float = 0.1
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    lam: float = dataclasses.field(default=1.0, kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    # The features of a self-pair would not change, but their gradient would be 2 - w.
    skips_self_pairs: ClassVar[bool] = True
    handles_unmixed: ClassVar[bool] = True

    def _check_options(self) -> None:
        super()._check_options()
        check_positive("alpha", self.alpha)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        return dataclasses.replace(draw, moment_weight=beta_weights(self.alpha, draw.batch_size, generator))

    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        # Raises if there is a single position: one value has no distribution.
        group(x, "in")
        values = x.to(statistics_type(x))
        flat = values.flatten(2)
        order = flat.argsort(dim=-1, stable=True)
        donors = take(flat.gather(-1, order), draw.partner)
        # matched[order[r]] = donors[r]: the inverse of the sort, without a second one.
        matched = torch.empty_like(flat).scatter(-1, order, donors).reshape(x.shape)
        weight = draw.moment_weight
        if isinstance(weight, Tensor):
            weight = for_samples(weight, x).to(values.dtype)
        out = values + (1 - weight) * (matched - values.detach())
        if draw.mixed is not None:
            out = torch.where(for_samples(draw.mixed, x), out, values)
        return out.to(x.dtype)
