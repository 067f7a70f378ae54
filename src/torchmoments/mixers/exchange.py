"""The common part of MoEx, MixStyle and CrossNorm, which call `ops.exchange` with different arguments."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer, beta_weights, check_choice, check_positive, check_switch
from torchmoments.ops.norms import Norm, check_norm
from torchmoments.ops.settings import BACKENDS, GRADIENTS, MOMENTS, Backend, Gradient, Moment


class ExchangeMixin:
    """Mixin that implements `mix` by `ops.exchange`. List it before `Mixer`; redeclared options become fields."""

    norm: Norm = "in"
    eps: float
    grad: Gradient
    alpha: float | None = None
    moment: Moment = "both"
    positive_only: bool = False
    backend: Backend

    handles_unmixed: ClassVar[bool] = True
    exchanges_over_ranks: ClassVar[bool] = True

    def _check_options(self) -> None:
        Mixer._check_options(self)  # type: ignore[arg-type]
        check_norm(self.norm)
        check_switch("positive_only", self.positive_only)
        check_positive("eps", self.eps)
        if self.alpha is not None:
            check_positive("alpha", self.alpha)
        check_choice("grad", self.grad, GRADIENTS)
        check_choice("moment", self.moment, MOMENTS)
        check_choice("backend", self.backend, BACKENDS)

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        if self.alpha is None:
            return draw
        return dataclasses.replace(draw, moment_weight=beta_weights(self.alpha, draw.batch_size, generator))

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
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
            mask=mask,
            backend=self.backend,
        )
