"""Moment Exchange (MoEx): features get their partner's moments, and the loss uses both labels. Also its control.

Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021, arXiv 2002.11102.
"""

import dataclasses
from typing import ClassVar

from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.exchange import ExchangeMixin
from torchmoments.mixers.mixer import LabelFrom, Mixer
from torchmoments.ops.norms import Norm
from torchmoments.ops.settings import Backend, Gradient, Moment
from torchmoments.partners import Partner


class MoEx(ExchangeMixin, Mixer):
    """Moment Exchange.

        features  out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]]
        loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        norm: the values that one moment averages over, see `torchmoments.moments`. The paper recommends "pono".
        p: probability that a batch is mixed.
        lam: weight of a sample's OWN label in a mixed batch; fixed, not random. 1 keeps labels.
        eps: added to the variance, in units of the features squared.
        partner: how partners are chosen: "random" (a uniform permutation, as in the paper), "global" (the same of the
            batch over all ranks of the default process group, whose moments and labels are gathered; all ranks have to
            run the same steps), "derangement" (without self-pairs), "crossdomain" (the halves of the batch are
            swapped), "other-group" or "same-group" (by the `groups` passed to `draw`), or a function (batch_size,
            groups, generator) -> [B] int64, with -1 for no partner.
        label_from: whose label gets the remaining weight: "donor", the partner's; or "other", that of a third sample, a
            control for whether it matters that moments and label come from the same sample.
        grad: the moments through which the gradient flows: "both", "own", "donor" or "none".
        positive_only: compute moments over positive values only, see `torchmoments.exchange`.
        alpha: interpolate: the own moments keep a weight ~ Beta(alpha, alpha), one per sample. None: full exchange. The
            label weight stays lam.
        moment: which moments are exchanged: "both", "mean" or "std".
        per_sample: apply p to each sample instead of the batch.
        backend: see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is invalid.

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
    """A control for methods that mix labels: the same coins, partners and label weights, with features untouched.

        loss      lam * L(output, y) + (1 - lam) * L(output, y[partner])

    Args:
        p, lam, partner, label_from, per_sample: as in `MoEx`; equal random numbers give equal draws.

    Raises:
        ValueError: an argument is invalid.
    """

    p: float = 0.5
    lam: float = 0.9
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)

    handles_unmixed: ClassVar[bool] = True
    exchanges_over_ranks: ClassVar[bool] = True
    changes_features: ClassVar[bool] = False

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        return x
