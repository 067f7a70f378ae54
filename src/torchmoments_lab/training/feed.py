"""Images on their way to a network: read or taken from memory, augmented, resized, normalized, on its device.

What chance decides comes from one generator, in the process that trains: the same images whatever the method, and
however many processes read them.
"""

import math
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
from torchmoments_lab.settings import TrainingSettings

# For images that come in all sizes, and a network that takes any.
_USUAL_SIZE = 64
_PADDING = 4
# Length of a picture over its width. Of a longer one the middle is taken: resized whole, it may not fit into memory.
_LONGEST = 16


class Feed:
    """Batches [B, C, H, W] float32 of one data set for one network.

    Args:
        data: the images.
        wanted: the images that the network takes.
        training: augment, test_crop and loader_workers are used.
        device: where the batches are used.

    Raises:
        ValueError: test_crop, for images that are tensors.
    """

    def __init__(self, data: Data, wanted: Input, training: TrainingSettings, device: torch.device) -> None:
        self.data = data
        self.device = device
        self._channels = wanted.channels
        self._augment = training.augment
        self._workers = training.loader_workers
        self._from_pictures = data.are_pictures
        self._levels = data.levels
        self._size = _size(wanted, self._from_pictures)
        self._bicubic = wanted.bicubic
        if training.test_crop is not None and not self._from_pictures:
            raise ValueError("test_crop cuts pictures; the images of the data are tensors. Leave it out.")
        self._crop = training.test_crop or wanted.crop
        mean, std = (
            data.peak * torch.tensor(of_model or of_data, device=device).view(-1, 1, 1)
            for of_model, of_data in ((wanted.mean, data.mean), (wanted.std, data.std))
        )
        self._mean, self._std = mean, std

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
        for index, share, x in zip(batches, shares, self._stream(images.images, items, self._augment), strict=True):
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

    def _stream(
        self, images: Sequence[Any], items: list[list[tuple[int, int]]], augment: bool, workers: int | None = None
    ) -> Iterator[Tensor]:
        shape = (self._size, self._crop, self._bicubic, augment, self.data.flips) if self._from_pictures else None
        number = self._workers if workers is None else workers
        # Inside a comparison's worker the usual way to start a process is loky's, which a loader cannot use.
        how = ("fork" if sys.platform == "linux" else "spawn") if number else None
        # Its own generator: a loader draws a number for its processes, of torch's global stream otherwise.
        return iter(
            DataLoader(
                _Items(images, shape, self._levels),
                batch_sampler=items,
                num_workers=number,
                multiprocessing_context=how,
                generator=torch.Generator().manual_seed(0),
            )
        )

    def _boxes(self, number: int, generator: torch.Generator, rank: int, ranks: int) -> Tensor | None:
        """Shift down, shift right, flip of each image, this rank's part: [B, 3]; None without augmentation."""
        if not self._augment:
            return None
        shifts = torch.randint(2 * _PADDING + 1, (number, 2), generator=generator)
        flips = torch.randint(2, (number, 1), generator=generator) * int(self.data.flips)
        return torch.tensor_split(torch.cat([shifts, flips], 1), ranks)[rank]

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


def pad_crop_flip(x: Tensor, boxes: Tensor) -> Tensor:
    """Each image [C, H, W] padded by 4 zeros on each side, cut back at its own shift, and mirrored if its box says so.

    Args:
        x: [B, C, H, W].
        boxes: [B, 3] int64: rows and columns cut off at the top left, 0 to 8; 1 to mirror.
    """
    if x.ndim != 4:
        raise ValueError(f"augment needs images [C, H, W]; got {list(x.shape[1:])}. Leave --augment out.")
    height, width = x.shape[-2:]
    padded = F.pad(x, (_PADDING,) * 4)
    rows = torch.arange(height, device=x.device) + boxes[:, :1]
    columns = torch.arange(width, device=x.device).expand(len(x), -1)
    columns = torch.where(boxes[:, 2:] == 1, width - 1 - columns, columns) + boxes[:, 1:2]
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


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

    def __init__(
        self,
        images: Sequence[Any],
        shape: tuple[int | None, float, bool, bool, bool] | None,
        levels: Levels | None,
    ) -> None:
        self.images = images
        self.transform = None if shape is None else _transform(*shape)
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


def _transform(size: int | None, crop: float, bicubic: bool, augment: bool, flips: bool) -> Any:
    from torchvision.transforms import InterpolationMode, v2

    assert size is not None
    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    if augment:
        steps: list[Any] = [v2.RandomResizedCrop(size, interpolation=mode)]
        steps += [v2.RandomHorizontalFlip()] if flips else []
    else:
        # Rounded up, so that the cut is never larger than the image.
        steps = [_shortened, v2.Resize(math.ceil(size / crop), interpolation=mode), v2.CenterCrop(size)]
    return v2.Compose([*steps, v2.PILToTensor()])


def _shortened(picture: Any) -> Any:
    """The middle of a picture that is much longer than wide, or wider than long; others as they are."""
    from torchvision.transforms.v2 import functional

    height, width = functional.get_size(picture)
    if max(height, width) <= _LONGEST * min(height, width):
        return picture
    return functional.center_crop(picture, [min(height, _LONGEST * width), min(width, _LONGEST * height)])
