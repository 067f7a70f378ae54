"""Images and labels for the lab.

Images are [N, 1, H, W] float32, labels [N] int64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from torchmoments.lab.config import nearest

# Chosen once: the same test images for every run, whatever its seed.
_TEST_SPLIT_SEED = 0


@dataclass(frozen=True)
class Data:
    """A training pool, and test images that are the same for all runs."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int

    def subset(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """Training images of one run: `size` of the pool, every class in its share, drawn by `seed`.

        Raises:
            ValueError: fewer images than classes, or more than the pool has.
        """
        if not self.classes <= size <= len(self.labels):
            raise ValueError(
                f"train_size needs {self.classes} (one image of each class) to {len(self.labels)} images; "
                f"got {size}. Write --train-size {min(max(size, self.classes), len(self.labels))}."
            )
        # One of each class first: the shares of a small subset can round to nothing.
        order = np.random.default_rng(seed).permutation(len(self.labels))
        labels = self.labels.numpy()[order]
        first = np.unique(labels, return_index=True)[1]
        rest = np.setdiff1d(np.arange(len(order)), first)
        missing = self._shares(size) - 1
        chosen = [rest[labels[rest] == c][: missing[c]] for c in range(self.classes)]
        index = torch.from_numpy(order[np.sort(np.concatenate([first, *chosen]))])
        return self.images[index], self.labels[index]

    def _shares(self, size: int) -> np.ndarray:
        """Images of each class: at least one, otherwise in proportion to the pool; [classes], sum `size`."""
        counts = np.bincount(self.labels.numpy(), minlength=self.classes)
        shares = np.ones(self.classes, dtype=np.int64)
        for _ in range(size - self.classes):
            shares[np.argmax(np.where(shares < counts, counts / shares, 0))] += 1
        return shares


def load(name: str) -> Data:
    """The data set called `name`.

    Raises:
        ValueError: no such data set.
    """
    known = {"digits": _digits}
    if name not in known:
        raise ValueError(f"data needs the name of a data set; got {name!r}. {nearest(name, known)}")
    return known[name]()


def _digits() -> Data:
    """scikit-learn's digits: 1,797 images of 8 x 8 pixels, 10 classes, 360 of them held out for the test."""
    pixels, labels = load_digits(return_X_y=True)
    # Pixels are 0 to 16. Mean and spread are constants of the data set, so no run estimates anything from the test set.
    images = ((pixels - 4.9) / 6.0).astype(np.float32).reshape(-1, 1, 8, 8)
    train_x, test_x, train_y, test_y = train_test_split(
        torch.from_numpy(images),
        torch.from_numpy(labels.astype(np.int64)),
        test_size=0.2,
        stratify=labels,
        random_state=_TEST_SPLIT_SEED,
    )
    return Data(train_x, train_y, test_x, test_y, classes=10)
