"""MixStyle: features get a blend of their own and their partner's style; labels are kept.

Source: Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, arXiv 2104.02008.
"""

import dataclasses

from torchmoments.mixers.exchange import ExchangeMixin
from torchmoments.mixers.mixer import LabelFrom, Mixer
from torchmoments.ops.norms import Norm
from torchmoments.ops.settings import Backend, Gradient, Moment
from torchmoments.partners import Partner


class MixStyle(ExchangeMixin, Mixer):
    """MixStyle.

        out[b] = (x[b] - mean[b]) / std[b] * (w std[b] + (1 - w) std[partner[b]])
                 + w mean[b] + (1 - w) mean[partner[b]]

    with w ~ Beta(alpha, alpha) per sample. Standard deviations are blended, not variances.

    Args:
        p: probability that a batch is mixed, at each place.
        alpha: parameter of the Beta distribution; at 0.1 most samples keep their style or get their partner's.
        eps: added to the variance, in units of the features squared.
        partner: "random", "crossdomain" (if the halves of the batch are two domains), or others as in `MoEx`.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label gets the remaining weight, "donor" or "other", see `MoEx`.
        norm: the values that one moment averages over, see `torchmoments.moments`; "in" is style.
        grad: the moments through which the gradient flows: "none" as published, "both", "own" or "donor".
        moment: which moments are mixed: "both", "mean" or "std".
        per_sample: apply p to each sample instead of the batch.
        backend: see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is invalid.

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
