"""Loss and accuracy of the steps of an epoch, read from the device many at a time: reading waits for it."""

import math

import torch
from torch import Tensor

# A run that has diverged continues for at most so many steps.
_READ_EVERY = 100


class Tally:
    """Sums over the images of an epoch.

    Args:
        loss, accuracy: the sums, of the steps that were read.
        mixed: the number of steps in which something was mixed.
        steps: their number, of those that were read.
    """

    def __init__(self, loss: float = 0.0, accuracy: float = 0.0, mixed: int = 0, steps: int = 0) -> None:
        self.loss = loss
        self.accuracy = accuracy
        self.mixed = mixed
        self.steps = steps
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []
        self._images: list[int] = []

    def add(self, loss: Tensor, accuracy: Tensor, images: int, is_mixed: bool) -> None:
        """Count one step; every so many are read.

        Args:
            loss, accuracy: scalars, means over the images of the step.

        Raises:
            NotFiniteError: the loss of a step is not finite.
        """
        self.mixed += is_mixed
        self._losses.append(loss.detach())
        self._accuracies.append(accuracy)
        self._images.append(images)
        if len(self._images) == _READ_EVERY:
            self.read()

    def read(self) -> None:
        """Add what was counted to the sums; raises as `add` does."""
        if not self._images:
            return
        read = torch.stack([torch.stack(self._losses), torch.stack(self._accuracies)]).tolist()
        for loss, accuracy, images in zip(*read, self._images, strict=True):
            self.steps += 1
            if not math.isfinite(loss):
                raise NotFiniteError(self.steps, loss)
            self.loss += images * loss
            self.accuracy += images * accuracy
        self._losses, self._accuracies, self._images = [], [], []


class NotFiniteError(ArithmeticError):
    """The loss became `value` at this step of the epoch, counted from 1."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(step, value)
        self.step = step
        self.value = value
