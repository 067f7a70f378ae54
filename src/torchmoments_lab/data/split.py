"""A data set split into a training pool and test images, and subsets in which every class has its share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmoments_lab.data.picture import Levels
from torchmoments_lab.data.seen import levels, see_tensors

# Chosen once: the same validation images for every run, whatever its seed.
_VALIDATION_SEED = 0
_VALIDATION_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Args:
        images: [N, C, H, W] pixels in memory; or anything indexed that gives one image, which is then streamed.
        labels: [N] int64, from 0 to the number of classes - 1.
        seen: a record of each image [N], see `seen.RECORD`. Every loader makes it.
    """

    images: Tensor | Sequence[Any]
    labels: Tensor
    seen: np.ndarray | None = None

    @classmethod
    def in_memory(cls, images: Tensor, labels: Tensor) -> "Split":
        return cls(images, labels, see_tensors(images))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> "Split":
        """The images at these places, in this order."""
        chosen = torch.from_numpy(index)
        images = self.images[chosen] if isinstance(self.images, Tensor) else Part(self.images, index.tolist())
        return Split(images, self.labels[chosen], None if self.seen is None else self.seen[index])


class Part(Sequence[Any]):
    """Some of the images, in another order."""

    def __init__(self, images: Sequence[Any], index: Sequence[int]) -> None:
        self.images = images
        self.chosen = index

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, number: int) -> Any:  # type: ignore[override]
        return self.images[self.chosen[number]]


@dataclass(frozen=True, eq=False)
class Data:
    """A training pool, and test images that are the same for all runs.

    Args:
        train: the pool that each run draws its training images from.
        test: the test images.
        classes: their names.
        peak: what a pixel at full brightness counts; `mean` and `std` are in units of it.
        mean, std: of a pixel, one number a channel. Constants of the data set: nothing is estimated from test images.
        flips: whether a mirrored image is still of its class.
        is_normalized: the images are as a network wants them already; `mean` and `std` are not used.
        item_shape: of a user's tensors that are read one by one, see `shape`.
        remarks: what the loader decided or left out, a sentence each.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    peak: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    flips: bool = True
    is_normalized: bool = False
    item_shape: tuple[int, ...] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def are_pictures(self) -> bool:
        """Whether images are decoded, scaled and cut to size when they are needed."""
        return not self.is_normalized and not isinstance(self.train.images, Tensor)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of an image; None: pictures, which become what the network wants."""
        return tuple(self.train.images.shape[1:]) if isinstance(self.train.images, Tensor) else self.item_shape

    @property
    def levels(self) -> Levels | None:
        """What is black and what is white in pictures of more than 8 bits; None if there are none."""
        return levels(self.train.seen) if self.are_pictures and self.train.seen is not None else None

    def subset(self, size: int, seed: int) -> Tensor:
        """Indices of one run's training images: `size` of the pool, every class in its share, drawn by `seed`.

        Raises:
            ValueError: fewer images than classes, or more than the pool has.
        """
        classes, pool = len(self.classes), len(self.train)
        if not classes <= size <= pool:
            raise ValueError(
                f"train_size needs {classes} (one image of each class) to {pool} images; "
                f"got {size}. Write --train-size {min(max(size, classes), pool)}."
            )
        return torch.from_numpy(stratified(self.train.labels.numpy(), classes, size, seed))

    def without_test(self) -> "Data":
        """The training pool split again: a fifth of it, every class in its share, stands in for the test images.

        The same images for every run. The test images themselves are not in what is returned.

        Raises:
            ValueError: a class has fewer than two training images.
        """
        labels = self.train.labels.numpy()
        counts = np.bincount(labels, minlength=len(self.classes))
        if counts.min() < 2:
            raise ValueError(
                f"evaluate='validation' needs two training images of each class; got {counts.min()} of class "
                f"{self.classes[int(counts.argmin())]!r}. Write --evaluate test, or take more images."
            )
        size = max(len(self.classes), round(_VALIDATION_SHARE * len(labels)))
        held_out = np.sort(stratified(labels, len(self.classes), size, _VALIDATION_SEED))
        kept = np.setdiff1d(np.arange(len(labels)), held_out)
        return replace(self, train=self.train.take(kept), test=self.train.take(held_out))


def stratified(labels: np.ndarray, classes: int, size: int, seed: int) -> np.ndarray:
    """Indices [size] of a random subset in which every class has its share, and at least one image."""
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    shares = _shares(np.bincount(labels, minlength=classes), size)
    chosen = [np.flatnonzero(shuffled == c)[: shares[c]] for c in range(classes)]
    return order[np.sort(np.concatenate(chosen))]


def _shares(counts: np.ndarray, size: int) -> np.ndarray:
    """Images of each class, sum `size`: one each, then always one for the class with most images a share (D'Hondt)."""
    taken = np.concatenate([np.arange(1, count) for count in counts])
    classes = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, 0))
    next_in_turn = np.argsort(-counts[classes] / taken, kind="stable")[: size - len(counts)]
    return 1 + np.bincount(classes[next_in_turn], minlength=len(counts))
