"""Images on their way to a network: read or taken from memory, augmented, resized, normalized, on its device.

What chance decides comes from one generator, in the process that trains: the same images whatever the method, and
however many processes read them.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from torchmoments_lab.data.split import Data, Part, Split
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.training.augmentation import draw_boxes, pad_crop_flip
from torchmoments_lab.training.preparation import Preparation, filled
from torchmoments_lab.training.reader import Reader

# Of a test batch, which needs less memory than one of training.
_MANY, _FEW, _SMALL = 500, 100, 64


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
        self.preparation = Preparation.of(data, wanted, self.preprocessing)
        self._reader = Reader(self.preparation, device, self.preprocessing)

    def training(
        self,
        images: Split,
        batches: Sequence[Tensor],
        generator: torch.Generator,
        rank: int = 0,
        ranks: int = 1,
        skipped: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, this rank's share of each.

        Args:
            images: what `batches` index, see `subset`.
            batches: indices of each batch, of all ranks together.
            generator: of the augmentation; all ranks draw the same, and each takes its part.
            skipped: number of the first batches that are left out; what chance decides of the others is the same.
        """
        shares = [torch.tensor_split(index, ranks)[rank] for index in batches]
        labels = images.labels.to(self.device)
        if isinstance(images.images, Tensor):
            self._skip(batches[:skipped], generator)
            for index, share in zip(batches[skipped:], shares[skipped:], strict=True):
                boxes = self._boxes(len(index), generator, rank, ranks)
                x = self._augmented(images.images[share.to(self.device)], boxes)
                yield self._reader.ready(x), labels[share.to(self.device)]
            return
        seeds = [torch.randint(2**62, (len(index),), generator=generator) for index in batches]
        mine = [torch.tensor_split(seed, ranks)[rank] for seed in seeds]
        items = [
            list(zip(share.tolist(), seed.tolist(), strict=True)) for share, seed in zip(shares, mine, strict=True)
        ]
        stream = self._reader.stream(images.images, items[skipped:], augment=True)
        if not self.data.are_pictures:
            self._skip(batches[:skipped], generator)
        for index, share, x in zip(batches[skipped:], shares[skipped:], stream, strict=True):
            boxes = None if self.data.are_pictures else self._boxes(len(index), generator, rank, ranks)
            yield self._reader.ready(self._augmented(x, boxes)), labels[share.to(self.device)]

    def subset(self, index: Tensor) -> Split:
        """The training images of one run; those in memory move to the device."""
        train = self.data.train
        domains = None if train.domains is None else train.domains[index]
        if isinstance(train.images, Tensor):
            return Split(train.images[index].to(self.device), train.labels[index], domains=domains)
        return Split(Part(train.images, index.tolist()), train.labels[index], domains=domains)

    def test(self) -> Iterator[Tensor]:
        """The test images in their order, without augmentation."""
        return self._reader.batches(self.data.test.images, _MANY if (self.preparation.size or 0) <= _SMALL else _FEW)

    def example(self, number: int) -> Tensor:
        """The first training images, without augmentation; with fewer, some twice."""
        index = [i % len(self.data.train) for i in range(number)]
        images = self.data.train.images
        if isinstance(images, Tensor):
            return self._reader.ready(images[index])
        (x,) = self._reader.stream(images, [[(i, 0) for i in index]], augment=False, workers=0)
        return self._reader.ready(x)

    def before_normalization(self, x: Tensor) -> Tensor:
        """A batch with black at 0 and white at 1; images that came normalized stay as they are."""
        return self._reader.before_normalization(x)

    def _boxes(self, number: int, generator: torch.Generator, rank: int, ranks: int) -> Tensor | None:
        """This rank's part of the boxes of a batch; None without augmentation."""
        if not self.preprocessing.augment:
            return None
        return torch.tensor_split(draw_boxes(number, self.preprocessing.flips or "none", generator), ranks)[rank]

    def _skip(self, batches: Sequence[Tensor], generator: torch.Generator) -> None:
        """Draw the boxes of batches that are left out."""
        for index in batches:
            self._boxes(len(index), generator, 0, 1)

    def _augmented(self, x: Tensor, boxes: Tensor | None) -> Tensor:
        x = x.to(self.device, non_blocking=True)
        return x if boxes is None else pad_crop_flip(x.float(), boxes.to(x.device))
