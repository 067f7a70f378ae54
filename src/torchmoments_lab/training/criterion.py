"""The loss of a batch, and what balances classes of unequal numbers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Criterion:
    """Mean cross-entropy over the images of a batch, each with the weight of its class.

    Unlike `F.cross_entropy(..., weight=)`, which divides by the number of images where targets are soft and by the sum
    of their weights where they are not: a method that mixes labels would train with another learning rate.

    Args:
        smoothing: share of each label that goes to all classes alike.
        weights: [K], of the classes; None: all the same.
    """

    smoothing: float = 0.0
    weights: Tensor | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar, of logits [B, K] and class indices [B] or soft targets [B, K]."""
        if self.weights is None:
            return F.cross_entropy(output, target, label_smoothing=self.smoothing)
        losses = F.cross_entropy(output, target, label_smoothing=self.smoothing, reduction="none")
        weights = target @ self.weights if target.is_floating_point() else self.weights[target]
        return (weights * losses).sum() / weights.sum()


def balancing_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights [K] float32 with which all classes count the same: N / (K * images of the class).

    Args:
        labels: [N] class indices; each class has an image.
    """
    counts = torch.bincount(labels.cpu(), minlength=classes)
    return (len(labels) / (classes * counts)).float()
