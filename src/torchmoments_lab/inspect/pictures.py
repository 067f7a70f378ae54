"""Images by name, as a network gets them, and back as pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from torchmoments_lab.data.picture import Levels, decoded, scaled
from torchmoments_lab.data.split import Data
from torchmoments_lab.models.built import Input
from torchmoments_lab.typed import nearest

SAMPLES = ("china", "flower")
# Large enough to see something in the maps of the last stage.
_SIDE = 256


@dataclass(frozen=True)
class Frame:
    """Pixels from 0 to 1, [C, H, W] each, and the way to what the network gets."""

    names: tuple[str, ...]
    pixels: Tensor
    mean: Tensor
    std: Tensor

    @property
    def inputs(self) -> Tensor:
        """[B, C, H, W] as the network gets them."""
        return self.to_inputs(self.pixels)

    @property
    def is_grey(self) -> bool:
        """Whether an image has one channel, or equal ones: their mean is the image then, and their deviation is 0."""
        return bool((self.pixels == self.pixels[:, :1]).flatten(1).all(1).any())

    def to_inputs(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


def load_frame(names: tuple[str, ...], data: Data, wanted: Input) -> Frame:
    """The images cut to one size.

    Raises:
        ValueError: no such image, or it cannot be read.
    """
    known = data.train.images
    channels = wanted.channels or (known.shape[1] if isinstance(known, Tensor) and known.ndim == 4 else 3)
    of_data = [_data_image(name, data) for name in names if name.startswith("data:")]
    in_memory = isinstance(data.test.images, Tensor)
    native = of_data[0].shape[-1] if in_memory and len(of_data) == len(names) else _SIDE
    side = wanted.size or native
    pixels = torch.stack([_square(_image(name, data), side, channels) for name in names])
    mean, std = (
        torch.tensor(of_model or of_data_set).view(-1, 1, 1)
        for of_model, of_data_set in ((wanted.mean, data.mean), (wanted.std, data.std))
    )
    return Frame(names, pixels, mean, std)


def _image(name: str, data: Data) -> Tensor:
    """[C, H, W] from 0 to 1."""
    if name.startswith("data:"):
        return _data_image(name, data)
    if name in SAMPLES and not Path(name).exists():
        from sklearn.datasets import load_sample_image

        return torch.from_numpy(load_sample_image(f"{name}.jpg").copy()).permute(2, 0, 1) / 255
    try:
        with Image.open(name) as image:
            picture = decoded(image)
    except FileNotFoundError:
        raise ValueError(
            f"image needs a file, {', '.join(SAMPLES)} or data:NUMBER; got {name!r}. {nearest(name, SAMPLES)}"
        ) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"image needs a file that can be read as an image; got {name!r} ({error}).") from error
    return _pixels(picture, None)


def _pixels(picture: Image.Image | np.ndarray, levels: Levels | None) -> Tensor:
    """[C, H, W] from 0 to 1; one of more than 8 bits from black to white, by its own values if these are unknown."""
    if isinstance(picture, np.ndarray):
        return scaled(picture, levels or (float(picture.min()), float(picture.max()))) / 255
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) / 255


def _data_image(name: str, data: Data) -> Tensor:
    number = name.removeprefix("data:")
    images = data.test.images
    if not (number.isdecimal() and int(number) < len(images)):
        raise ValueError(f"image needs data:0 to data:{len(images) - 1}; got {name!r}.")
    if isinstance(images, Tensor):
        return images[int(number)].float() / data.peak
    if not data.are_pictures:
        raise ValueError(f"image {name!r} needs pixels; the data are tensors of a Dataset. Write the file of an image.")
    return _pixels(decoded(images[int(number)]), data.levels)


def _square(image: Tensor, side: int, channels: int) -> Tensor:
    """The middle square in the size and with the channels that are wanted."""
    height, width = image.shape[-2:]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    image = image[:, top : top + edge, left : left + edge]
    if channels == 1 and len(image) == 3:
        # The usual weights of luma.
        image = (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    image = image.expand(channels, -1, -1)
    if edge == side:
        return image.contiguous()
    return F.interpolate(image[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)
