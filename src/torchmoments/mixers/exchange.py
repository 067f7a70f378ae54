"""Mixers that are cases of `ops.exchange`: MoEx, MixStyle, and CrossNorm on whole maps differ in arguments alone."""

import dataclasses

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer, beta_weights, check_choice, check_positive, check_switch
from torchmoments.ops.norms import Norm, check_norm


class ExchangeMixer(Mixer):
    """Moments are exchanged; a subclass is a dataclass that makes fields of what can be chosen."""

    norm: Norm = "in"
    eps: float
    grad: str
    alpha: float | None = None
    moment: str = "both"
    positive_only: bool = False
    backend: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm)
        check_switch("positive_only", self.positive_only)
        check_positive("eps", self.eps)
        if self.alpha is not None:
            check_positive("alpha", self.alpha)
        check_choice("grad", self.grad, ops.GRADIENTS)
        check_choice("moment", self.moment, ops.MOMENTS)
        check_choice("backend", self.backend, ops.BACKENDS)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        if self.alpha is None:
            return draw
        return dataclasses.replace(draw, moment_weight=beta_weights(self.alpha, draw.batch_size, generator))

    def mix(self, x: Tensor, draw: Draw) -> Tensor:
        return ops.exchange(
            x,
            draw.partner,
            self.norm,
            eps=self.eps,
            grad=self.grad,
            positive_only=self.positive_only,
            mixed=draw.mixed,
            own_weight=draw.moment_weight,
            moment=self.moment,
            backend=self.backend,
        )
