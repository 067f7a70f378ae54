"""A data set split into training and test images, and stratified subsets of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmoments_lab.data.picture import Levels
from torchmoments_lab.data.records import RECORD, levels_of, tensor_records

# Chosen once: the same images are held out for every run, whatever its seed.
_HOLD_OUT_SEED = 0
_HOLD_OUT_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Args:
        images: [N, C, H, W] pixels in memory; or a sequence that gives one image at a time, which is streamed.
        labels: [N] int64, from 0 to the number of classes - 1.
        records: one of each image [N], see `records.RECORD`. Every loader makes them; none is needed for training.
        domains: the domain of each image, [N] int64; None: all are of one.
    """

    images: Tensor | Sequence[Any]
    labels: Tensor
    records: np.ndarray = field(default_factory=lambda: np.empty(0, RECORD))
    domains: Tensor | None = None

    @classmethod
    def in_memory(cls, images: Tensor, labels: Tensor) -> "Split":
        return cls(images, labels, tensor_records(images))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> "Split":
        """The images at these places, in this order."""
        chosen = torch.from_numpy(index)
        images = self.images[chosen] if isinstance(self.images, Tensor) else Part(self.images, index.tolist())
        records = self.records[index] if len(self.records) else self.records
        return Split(images, self.labels[chosen], records, None if self.domains is None else self.domains[chosen])


@dataclass(frozen=True, eq=False)
class Part(Sequence[Any]):
    """The images at some places of a sequence, in the order of the places."""

    images: Sequence[Any]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Any:  # type: ignore[override]
        return self.images[self.places[number]]


@dataclass(frozen=True, eq=False)
class Data:
    """A training set, and test images that are the same for all runs.

    Args:
        train: the training set, which each run draws its training images from.
        test: the test images.
        classes: their names.
        domains: the names of the training images' domains; none: all are of one.
        peak: the value of a pixel at full brightness; `mean` and `std` are in units of it.
        mean, std: of a pixel, one number a channel. Constants of the data set: nothing is estimated from test images.
        flips: whether a mirrored image is still of its class.
        is_normalized: the images are normalized already; `mean` and `std` are not used.
        item_shape: of a user's tensors that are read one by one, see `shape`.
        remarks: what the loader decided or left out, a sentence each.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    domains: tuple[str, ...] = field(default=(), kw_only=True)
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
        """Shape of an image; None for pictures, which get the size that the network needs."""
        return tuple(self.train.images.shape[1:]) if isinstance(self.train.images, Tensor) else self.item_shape

    @property
    def levels(self) -> Levels | None:
        """The values of black and white in pictures of more than 8 bits; None if there are none."""
        return levels_of(self.train.records) if self.are_pictures else None

    def subset(self, size: int, seed: int) -> Tensor:
        """Indices of one run's training images: a stratified subset of the training set, drawn by `seed`.

        Raises:
            ValueError: fewer images than classes, or more than the training set has.
        """
        classes, images = len(self.classes), len(self.train)
        if not classes <= size <= images:
            raise ValueError(
                f"train_size needs {classes} (one image of each class) to {images} images; "
                f"got {size}. Write --train-size {min(max(size, classes), images)}."
            )
        return torch.from_numpy(stratified(self.train.labels.numpy(), classes, size, seed))

    def without_test(self) -> "Data":
        """The training set alone: a stratified fifth of it, the same for every run, takes the place of the test set.

        Raises:
            ValueError: a class has fewer than two training images.
        """
        kept, held_out = hold_out(
            self.train.labels.numpy(), self.classes, "evaluate='validation'", "Write --evaluate test, or add images."
        )
        return replace(self, train=self.train.take(kept), test=self.train.take(held_out))


def hold_out(labels: np.ndarray, classes: Sequence[str], purpose: str, repair: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that stay, and of a stratified fifth that does not; both in order, the same for every run.

    Args:
        purpose, repair: what needs it, and what to do if it is impossible, for the error.

    Raises:
        ValueError: a class has fewer than two images.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < 2:
        name = classes[int(counts.argmin())]
        raise ValueError(f"{purpose} needs two images or more of each class; got {counts.min()} of {name!r}. {repair}")
    size = max(len(classes), round(_HOLD_OUT_SHARE * len(labels)))
    held_out = np.sort(stratified(labels, len(classes), size, _HOLD_OUT_SEED))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def stratified(labels: np.ndarray, classes: int, size: int, seed: int) -> np.ndarray:
    """Indices [size] of a random subset with each class in proportion, and at least one image of each."""
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    shares = _shares(np.bincount(labels, minlength=classes), size)
    chosen = [np.flatnonzero(shuffled == c)[: shares[c]] for c in range(classes)]
    return order[np.sort(np.concatenate(chosen))]


def _shares(counts: np.ndarray, size: int) -> np.ndarray:
    """Number of images of each class, `size` in all: one each, the others in proportion (D'Hondt's method)."""
    taken = np.concatenate([np.arange(1, count) for count in counts])
    classes = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, 0))
    next_in_turn = np.argsort(-counts[classes] / taken, kind="stable")[: size - len(counts)]
    return 1 + np.bincount(classes[next_in_turn], minlength=len(counts))
