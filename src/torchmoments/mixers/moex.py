"""Moment Exchange (MoEx): features wear their partner's moments, and the loss has both labels.

Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021, arXiv 2002.11102.
"""

import dataclasses

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import PARTNERS, Draw
from torchmoments.mixers.mixer import Mixer, check_choice, check_draw, check_fraction, toss_coin_and_pair
from torchmoments.ops.norms import Norm, check_norm


@dataclasses.dataclass(frozen=True)
class MoEx(Mixer):
    """Moment Exchange.

    features  out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]]
    loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        norm: what one moment averages over, see `torchmoments.moments`. The paper recommends "pono".
        p: probability that a batch is mixed.
        lam: weight of a sample's OWN label in a mixed batch; fixed, not drawn.
        eps: added to the variance, in units of the features squared.
        partner: "random" (a uniform permutation, the paper's) or "derangement" (nobody is their own partner).
        grad: through whose moments the gradient flows: "both", "own", "donor" or "none".
        positive_only: moments of the values over zero only, see `torchmoments.exchange`.
        backend: see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.

    Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021.
    """

    norm: Norm = "pono"
    p: float = 0.5
    lam: float = 0.9
    eps: float = 1e-5
    partner: str = "random"
    grad: str = dataclasses.field(default="both", kw_only=True)
    positive_only: bool = dataclasses.field(default=False, kw_only=True)
    backend: str = dataclasses.field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_fraction("p", self.p)
        check_fraction("lam", self.lam)
        if not 0 < self.eps < float("inf"):
            raise ValueError(f"eps needs a number over 0; got {self.eps!r}.")
        check_choice("partner", self.partner, tuple(PARTNERS))
        check_choice("grad", self.grad, ops.GRADIENTS)
        check_choice("backend", self.backend, ops.BACKENDS)

    @property
    def mixes_labels(self) -> bool:
        return self.lam < 1

    def draw(
        self, batch_size: int, *, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Draw | None:
        partner = toss_coin_and_pair(self.p, self.partner, batch_size, generator)
        if partner is None:
            return None
        draw = Draw(partner, torch.ones(batch_size, dtype=torch.bool), label_weight=float(self.lam))
        return draw if device is None else draw.to(device)

    def __call__(self, x: Tensor, draw: Draw | None) -> Tensor:
        if draw is None:
            return x
        check_draw(x, draw)
        return ops.exchange(
            x,
            draw.partner,
            self.norm,
            eps=self.eps,
            grad=self.grad,
            positive_only=self.positive_only,
            mixed=draw.mixed,
            own_weight=draw.moment_weight,
            backend=self.backend,
        )
