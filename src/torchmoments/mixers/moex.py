"""Moment Exchange (MoEx): features get their partner's moments, and the loss has both labels; and its control.

Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021, arXiv 2002.11102.
"""

import dataclasses
from typing import ClassVar

from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.exchange import ExchangesMoments
from torchmoments.mixers.mixer import LabelFrom, Mixer
from torchmoments.ops.norms import Norm
from torchmoments.ops.settings import Backend, Gradient, Moment
from torchmoments.partners import Partner


class MoEx(ExchangesMoments, Mixer):
    """Moment Exchange.

    features  out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]]
    loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        norm: what one moment averages over, see `torchmoments.moments`. The paper recommends "pono".
        p: probability that a batch is mixed.
        lam: weight of a sample's OWN label in a mixed batch; fixed, not drawn. 1 keeps labels.
        eps: added to the variance, in units of the features squared.
        partner: "random" (a uniform permutation, the paper's), "derangement" (nobody is their own partner),
            "crossdomain" (the halves of the batch change places), "other-group" or "same-group" (of the `groups` given
            to `draw`), or a function (batch_size, groups, generator) -> [B] int64, with -1 for nobody.
        label_from: whose label has the rest: "donor", the partner's; or "other", that of a third sample, the control
            that tells whether it matters that moments and label come from the same sample.
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
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    grad: Gradient = dataclasses.field(default="both", kw_only=True)
    positive_only: bool = dataclasses.field(default=False, kw_only=True)
    alpha: float | None = dataclasses.field(default=None, kw_only=True)
    moment: Moment = dataclasses.field(default="both", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)
    backend: Backend = dataclasses.field(default="auto", kw_only=True)


class LabelsOnly(Mixer):
    """The control of a method that mixes labels: its coins, partners and label weights, with the features untouched.

    loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        p, lam, partner, label_from, per_sample: as in `MoEx`, whose draws it makes for the same random numbers.

    Raises:
        ValueError: an argument is outside its range; the sentence says which.
    """

    p: float = 0.5
    lam: float = 0.9
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    applies_mixed: ClassVar[bool] = True
    changes_features: ClassVar[bool] = False

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        return x
