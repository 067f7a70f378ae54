"""Images read and prepared for a network: in training, in the test, and wherever its weights are used."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchmoments_lab.data.picture import Levels, decoded, scaled, taken_as_it_is
from torchmoments_lab.random_numbers import fixed_random_numbers
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.training.augmentation import of_picture
from torchmoments_lab.training.preparation import Preparation


class Reader:
    """Images as a network gets them, [B, C, H, W] float32.

    Args:
        preparation: how.
        device: where the batches are used.
        preprocessing: as `filled` returns it, for training; None: images are not augmented.
    """

    def __init__(
        self, preparation: Preparation, device: torch.device, preprocessing: Preprocessing | None = None
    ) -> None:
        self.preparation = preparation
        self.device = device
        self.preprocessing = preprocessing or Preprocessing(test_crop=preparation.test_crop)
        self._mean, self._std = (
            preparation.peak * torch.tensor(numbers, device=device)[:, None, None]
            for numbers in (preparation.mean, preparation.std)
        )

    def batches(self, images: Tensor | Sequence[Any], size: int) -> Iterator[Tensor]:
        """The images in their order, without augmentation.

        Args:
            images: [N, ...] in memory; or a sequence that gives one at a time.
            size: images of a batch.
        """
        if isinstance(images, Tensor):
            yield from map(self.ready, torch.split(images, size))
            return
        items = [[(int(i), 0) for i in index] for index in torch.split(torch.arange(len(images)), size)]
        yield from map(self.ready, self.stream(images, items, augment=False))

    def stream(
        self, images: Sequence[Any], items: list[list[tuple[int, int]]], augment: bool, workers: int | None = None
    ) -> Iterator[Tensor]:
        """Batches that are read one by one, before `ready`. An item is (index, seed of what chance decides)."""
        transform, size = None, self.preparation.size
        if self.preparation.kind == "pictures":
            assert size is not None
            transform = of_picture(size, self.preparation.bicubic, self.preprocessing, augment=augment)
        number = self.preprocessing.loader_workers if workers is None else workers
        # Inside a comparison's worker the usual way to start a process is loky's, which a loader cannot use.
        how = ("fork" if sys.platform == "linux" else "spawn") if number else None
        # Its own generator: a loader draws a number for its processes, of torch's global stream otherwise.
        return iter(
            DataLoader(
                _Items(images, transform, self.preparation.levels),
                batch_sampler=items,
                num_workers=number,
                multiprocessing_context=how,
                generator=torch.Generator().manual_seed(0),
            )
        )

    def ready(self, x: Tensor) -> Tensor:
        """A batch on the device, resized if the network needs that, and normalized."""
        x = x.to(self.device, non_blocking=True).float()
        size, channels = self.preparation.size, self.preparation.channels
        if size is not None and x.ndim == 4 and x.shape[-2:] != (size, size):
            mode = "bicubic" if self.preparation.bicubic else "bilinear"
            x = F.interpolate(x, (size, size), mode=mode, antialias=True)
        if channels is not None and x.ndim == 4 and x.shape[1] == 1:
            x = x.expand(-1, channels, -1, -1)
        return x if self.preparation.kind == "normalized" else (x - self._mean) / self._std

    def before_normalization(self, x: Tensor) -> Tensor:
        """What `ready` returned with black at 0 and white at 1; images that came normalized stay as they are."""
        if self.preparation.kind == "normalized":
            return x
        return (x * self._std + self._mean) / self.preparation.peak


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
