"""Images on their way to a network: read or taken from memory, augmented, resized, normalized, on its device.

What chance decides comes from one generator, in the process that trains: the same images whatever the method, and
however many processes read them.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchmoments_lab.data.picture import Levels, decoded, scaled, taken_as_it_is
from torchmoments_lab.data.split import Data, Part, Split
from torchmoments_lab.models.built import Input
from torchmoments_lab.random_numbers import fixed_random_numbers
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.training.augmentation import draw_boxes, of_picture, pad_crop_flip
from torchmoments_lab.training.preparation import filled

# For images that come in all sizes, and a network that takes any.
_USUAL_SIZE = 64


class Feed:
    """Batches [B, C, H, W] float32 of one data set for one network.

    Args:
        data: the images.
        wanted: the images that the network takes.
        preprocessing: how they get there.
        device: where the batches are used.

    Raises:
        ValueError: preprocessing that these images cannot have.
    """

    def __init__(self, data: Data, wanted: Input, preprocessing: Preprocessing, device: torch.device) -> None:
        self.data = data
        self.device = device
        self.preprocessing = filled(preprocessing, data, wanted)
        self._channels = wanted.channels
        self._from_pictures = data.are_pictures
        self._size = _size(wanted, self._from_pictures)
        self._bicubic = wanted.bicubic
        self._mean, self._std = (
            data.peak * torch.tensor(numbers, device=device)[:, None, None]
            for numbers in (self.preprocessing.mean, self.preprocessing.std)
        )

    def training(
        self, images: Split, batches: Sequence[Tensor], generator: torch.Generator, rank: int = 0, ranks: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, this rank's share of each.

        Args:
            images: what `batches` index, see `subset`.
            batches: indices of each batch, of all ranks together.
            generator: of the augmentation; all ranks draw the same, and each takes its part.
        """
        shares = [torch.tensor_split(index, ranks)[rank] for index in batches]
        labels = images.labels.to(self.device)
        if isinstance(images.images, Tensor):
            for index, share in zip(batches, shares, strict=True):
                boxes = self._boxes(len(index), generator, rank, ranks)
                yield self._ready(images.images[share.to(self.device)], boxes), labels[share.to(self.device)]
            return
        seeds = [torch.randint(2**62, (len(index),), generator=generator) for index in batches]
        mine = [torch.tensor_split(seed, ranks)[rank] for seed in seeds]
        items = [
            list(zip(share.tolist(), seed.tolist(), strict=True)) for share, seed in zip(shares, mine, strict=True)
        ]
        for index, share, x in zip(batches, shares, self._stream(images.images, items, augment=True), strict=True):
            boxes = None if self._from_pictures else self._boxes(len(index), generator, rank, ranks)
            yield self._ready(x.to(self.device, non_blocking=True), boxes), labels[share.to(self.device)]

    def subset(self, index: Tensor) -> Split:
        """The training images of one run; those in memory move to the device."""
        images, labels = self.data.train.images, self.data.train.labels[index]
        if isinstance(images, Tensor):
            return Split(images[index].to(self.device), labels)
        return Split(Part(images, index.tolist()), labels)

    def test(self) -> Iterator[Tensor]:
        """The test images in their order, without augmentation."""
        images = self.data.test.images
        small = (self._size or 0) <= _USUAL_SIZE
        size = 500 if small else 100
        if isinstance(images, Tensor):
            for x in torch.split(images, size):
                yield self._ready(x.to(self.device), None)
            return
        items = [[(int(i), 0) for i in index] for index in torch.split(torch.arange(len(images)), size)]
        for x in self._stream(images, items, augment=False):
            yield self._ready(x.to(self.device, non_blocking=True), None)

    def example(self, number: int) -> Tensor:
        """The first training images, without augmentation; with fewer, some twice."""
        index = [i % len(self.data.train) for i in range(number)]
        images = self.data.train.images
        if isinstance(images, Tensor):
            return self._ready(images[index].to(self.device), None)
        (x,) = self._stream(images, [[(i, 0) for i in index]], augment=False, workers=0)
        return self._ready(x.to(self.device), None)

    def before_normalization(self, x: Tensor) -> Tensor:
        """A batch with black at 0 and white at 1; images that came normalized stay as they are."""
        return x if self.data.is_normalized else (x * self._std + self._mean) / self.data.peak

    def _stream(
        self, images: Sequence[Any], items: list[list[tuple[int, int]]], augment: bool, workers: int | None = None
    ) -> Iterator[Tensor]:
        transform = None
        if self._from_pictures:
            assert self._size is not None
            transform = of_picture(self._size, self._bicubic, self.preprocessing, augment=augment)
        number = self.preprocessing.loader_workers if workers is None else workers
        # Inside a comparison's worker the usual way to start a process is loky's, which a loader cannot use.
        how = ("fork" if sys.platform == "linux" else "spawn") if number else None
        # Its own generator: a loader draws a number for its processes, of torch's global stream otherwise.
        return iter(
            DataLoader(
                _Items(images, transform, self.data.levels),
                batch_sampler=items,
                num_workers=number,
                multiprocessing_context=how,
                generator=torch.Generator().manual_seed(0),
            )
        )

    def _boxes(self, number: int, generator: torch.Generator, rank: int, ranks: int) -> Tensor | None:
        """This rank's part of the boxes of a batch; None without augmentation."""
        if not self.preprocessing.augment:
            return None
        return torch.tensor_split(draw_boxes(number, self.preprocessing.flips or "none", generator), ranks)[rank]

    def _ready(self, x: Tensor, boxes: Tensor | None) -> Tensor:
        x = x.float()
        if boxes is not None:
            x = pad_crop_flip(x, boxes.to(x.device))
        if self._size is not None and x.ndim == 4 and x.shape[-2:] != (self._size, self._size):
            mode = "bicubic" if self._bicubic else "bilinear"
            x = F.interpolate(x, (self._size, self._size), mode=mode, antialias=True)
        if self._channels is not None and x.ndim == 4 and x.shape[1] == 1:
            x = x.expand(-1, self._channels, -1, -1)
        return x if self.data.is_normalized else (x - self._mean) / self._std


def _size(wanted: Input, from_pictures: bool) -> int | None:
    """Side of the images as the network gets them; None: as they are."""
    if from_pictures:
        return wanted.size or _USUAL_SIZE
    return wanted.size if wanted.fixed_size else None


class _Items(Dataset[Tensor]):
    """One image as a tensor: pictures cut to size, as bytes unless they are deep; tensors as they are.

    An item is (index, seed): transforms that draw from the global random numbers of torch, NumPy or Python, our own and
    those inside a user's data set, draw the same for the same seed, and leave these streams as they were.
    """

    def __init__(self, images: Sequence[Any], transform: Any, levels: Levels | None) -> None:
        self.images = images
        self.transform = transform
        self.levels = levels

    def __getitem__(self, item: tuple[int, int]) -> Tensor:
        index, seed = item
        with fixed_random_numbers(seed):
            image = self.images[index]
            if self.transform is None:
                return taken_as_it_is(image)
            picture = decoded(image)
            shown = scaled(picture, self.levels) if isinstance(picture, np.ndarray) else picture
            tensor: Tensor = self.transform(shown)
        # Some pictures may be deep, and others have 8 bits.
        return tensor if self.levels is None else tensor.float()
