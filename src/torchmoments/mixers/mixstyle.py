"""MixStyle: features wear a blend of their own and their partner's style, labels are kept.

Source: Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, arXiv 2104.02008.
"""

import dataclasses

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer, beta_weights, check_choice, check_positive
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.partners import Partner


@dataclasses.dataclass(frozen=True, repr=False)
class MixStyle(Mixer):
    """MixStyle.

    out[b] = (x[b] - mean[b]) / std[b] * (w std[b] + (1 - w) std[partner[b]]) + w mean[b] + (1 - w) mean[partner[b]]

    with w ~ Beta(alpha, alpha) for each sample. Standard deviations are blended, not variances.

    Args:
        p: probability that a batch is mixed, at each place.
        alpha: of the Beta; at 0.1 most samples keep their style or take their partner's.
        eps: added to the variance, in units of the features squared.
        partner: "random", "crossdomain" (the halves of the batch are two domains), or another one of `MoEx`.
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
    norm: Norm = dataclasses.field(default="in", kw_only=True)
    grad: str = dataclasses.field(default="none", kw_only=True)
    moment: str = dataclasses.field(default="both", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)
    backend: str = dataclasses.field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("alpha", self.alpha)
        check_positive("eps", self.eps)
        check_norm(self.norm)
        check_choice("grad", self.grad, ops.GRADIENTS)
        check_choice("moment", self.moment, ops.MOMENTS)
        check_choice("backend", self.backend, ops.BACKENDS)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        return dataclasses.replace(draw, moment_weight=beta_weights(self.alpha, draw.batch_size, generator))

    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        return ops.exchange(
            x,
            draw.partner,
            self.norm,
            eps=self.eps,
            grad=self.grad,
            mixed=draw.mixed,
            own_weight=draw.moment_weight,
            moment=self.moment,
            backend=self.backend,
        )
