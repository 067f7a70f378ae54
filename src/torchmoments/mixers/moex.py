"""Moment Exchange (MoEx): features wear their partner's moments, and the loss has both labels.

Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021, arXiv 2002.11102.
"""

import dataclasses

import torch

from torchmoments.draw import Draw
from torchmoments.mixers.exchange import ExchangeMixer
from torchmoments.mixers.mixer import check_fraction
from torchmoments.ops.norms import Norm
from torchmoments.partners import Partner


@dataclasses.dataclass(frozen=True, repr=False)
class MoEx(ExchangeMixer):
    """Moment Exchange.

    features  out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]]
    loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        norm: what one moment averages over, see `torchmoments.moments`. The paper recommends "pono".
        p: probability that a batch is mixed.
        lam: weight of a sample's OWN label in a mixed batch; fixed, not drawn.
        eps: added to the variance, in units of the features squared.
        partner: "random" (a uniform permutation, the paper's), "derangement" (nobody is their own partner),
            "crossdomain" (the halves of the batch change places), "other-group" or "same-group" (of the `groups` given
            to `draw`), or a function (batch_size, groups, generator) -> [B] int64, with -1 for nobody.
        grad: through whose moments the gradient flows: "both", "own", "donor" or "none".
        positive_only: moments of the values over zero only, see `torchmoments.exchange`.
        alpha: interpolates: the own moments keep a weight ~ Beta(alpha, alpha), one a sample. None: full exchange. The
            label weight stays lam.
        moment: which of the two is exchanged: "both", "mean" or "std".
        per_sample: p is that of each sample, not of the batch.
        backend: see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.

    Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021.
    """

    norm: Norm = "pono"
    p: float = 0.5
    lam: float = 0.9
    eps: float = 1e-5
    partner: Partner = "random"
    grad: str = dataclasses.field(default="both", kw_only=True)
    positive_only: bool = dataclasses.field(default=False, kw_only=True)
    alpha: float | None = dataclasses.field(default=None, kw_only=True)
    moment: str = dataclasses.field(default="both", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)
    backend: str = dataclasses.field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("lam", self.lam)

    @property
    def mixes_labels(self) -> bool:
        return self.lam < 1

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        return dataclasses.replace(super().decide(draw, generator), label_weight=float(self.lam))
