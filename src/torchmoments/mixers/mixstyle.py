"""MixStyle: features get a blend of their own and their partner's style, labels are kept.

Source: Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, arXiv 2104.02008.
"""

import dataclasses

from torchmoments.mixers.exchange import ExchangesMoments
from torchmoments.mixers.mixer import LabelFrom, Mixer
from torchmoments.ops.norms import Norm
from torchmoments.ops.settings import Backend, Gradient, Moment
from torchmoments.partners import Partner


class MixStyle(ExchangesMoments, Mixer):
    """MixStyle.

    out[b] = (x[b] - mean[b]) / std[b] * (w std[b] + (1 - w) std[partner[b]]) + w mean[b] + (1 - w) mean[partner[b]]

    with w ~ Beta(alpha, alpha) for each sample. Standard deviations are blended, not variances.

    Args:
        p: probability that a batch is mixed, at each place.
        alpha: of the Beta; at 0.1 most samples keep their style or take their partner's.
        eps: added to the variance, in units of the features squared.
        partner: "random", "crossdomain" (the halves of the batch are two domains), or another one of `MoEx`.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label has the rest, "donor" or "other", see `MoEx`.
        norm: what one moment averages over, see `torchmoments.moments`; style is "in".
        grad: through whose moments the gradient flows: "none" as published, "both", "own" or "donor".
        moment: which of the two is mixed: "both", "mean" or "std".
        per_sample: p is that of each sample, not of the batch.
        backend: see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.

    Source: Zhou et al., "Domain Generalization with MixStyle", ICLR 2021.
    """

    p: float = 0.5
    alpha: float = 0.1
    eps: float = 1e-6
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    lam: float = dataclasses.field(default=1.0, kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    norm: Norm = dataclasses.field(default="in", kw_only=True)
    grad: Gradient = dataclasses.field(default="none", kw_only=True)
    moment: Moment = dataclasses.field(default="both", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)
    backend: Backend = dataclasses.field(default="auto", kw_only=True)
