"""What happens to one image on its way: pictures are cut to size, and training images changed by chance."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchmoments_lab.settings import Preprocessing

PADDING = 4
# Length of a picture over its width. Of a longer one the middle is taken: resized whole, it may not fit into memory.
_LONGEST = 16


def of_picture(size: int, bicubic: bool, preprocessing: Preprocessing, *, augment: bool) -> Any:
    """A transform of torchvision: a picture, or a tensor [3, H, W], to a tensor [3, size, size].

    Args:
        preprocessing: filled in, see `preparation`.
        augment: for training, where the preprocessing says so.
    """
    from torchvision.transforms import InterpolationMode, v2

    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    steps: list[Any] = []
    if augment and preprocessing.augment:
        assert preprocessing.crop_scale is not None
        if preprocessing.rotation:
            fill = [255 * mean for mean in preprocessing.mean * (3 if len(preprocessing.mean) == 1 else 1)]
            steps.append(v2.RandomRotation(preprocessing.rotation, InterpolationMode.BILINEAR, fill=fill))
        steps.append(v2.RandomResizedCrop(size, (preprocessing.crop_scale, 1.0), interpolation=mode))
        steps += [v2.RandomHorizontalFlip()] if preprocessing.flips in ("horizontal", "both") else []
        steps += [v2.RandomVerticalFlip()] if preprocessing.flips in ("vertical", "both") else []
    else:
        # Rounded up, so that the cut is never larger than the image.
        resized = math.ceil(size / preprocessing.test_crop)
        steps += [_shortened, v2.Resize(resized, interpolation=mode), v2.CenterCrop(size)]
    return v2.Compose([*steps, v2.PILToTensor()])


def _shortened(picture: Any) -> Any:
    """The middle of a picture that is much longer than wide, or wider than long; others as they are."""
    from torchvision.transforms.v2 import functional

    height, width = functional.get_size(picture)
    if max(height, width) <= _LONGEST * min(height, width):
        return picture
    return functional.center_crop(picture, [min(height, _LONGEST * width), min(width, _LONGEST * height)])


def draw_boxes(number: int, flips: str, generator: torch.Generator) -> Tensor:
    """What chance decides for images in memory: shift down, shift right, mirrored, upside down; [number, 4] int64."""
    shifts = torch.randint(2 * PADDING + 1, (number, 2), generator=generator)
    mirrored = torch.randint(2, (number, 1), generator=generator) * int(flips in ("horizontal", "both"))
    upside_down = torch.zeros_like(mirrored)
    if flips in ("vertical", "both"):
        upside_down = torch.randint(2, (number, 1), generator=generator)
    return torch.cat([shifts, mirrored, upside_down], 1)


def pad_crop_flip(x: Tensor, boxes: Tensor) -> Tensor:
    """Each image [C, H, W] padded by 4 zeros on each side, cut back at its own shift, and mirrored if its box says so.

    Args:
        x: [B, C, H, W].
        boxes: [B, 4] int64, see `draw_boxes`; the shifts are rows and columns cut off at the top left, 0 to 8.
    """
    if x.ndim != 4:
        raise ValueError(f"augment needs images [C, H, W]; got {list(x.shape[1:])}. Leave --augment out.")
    padded = F.pad(x, (PADDING,) * 4)
    rows = _places(x.shape[2], boxes[:, 0:1], boxes[:, 3:4])
    columns = _places(x.shape[3], boxes[:, 1:2], boxes[:, 2:3])
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _places(length: int, shift: Tensor, flip: Tensor) -> Tensor:
    """[B, length]: the rows or columns that an image gets, from its shift [B, 1] on, or backwards where flipped."""
    places = torch.arange(length, device=shift.device)
    return torch.where(flip == 1, length - 1 - places, places) + shift
