"""A user's own numbers: which are images that a network takes as they are, and which are labels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmoments_lab.data.picture import looks_channels_last


def taken_as_it_is(image: Any) -> Tensor:
    """A floating point image as float32.

    Raises:
        ValueError: it is something else.
    """
    tensor = floats(image)
    if tensor is None:
        raise ValueError(f"images need to stay floating point, as when they were checked; got {image.dtype}.")
    return tensor


def floats(images: Any, batch: int = 0) -> Tensor | None:
    """Floating point images as float32, which are taken as normalized; None: whole numbers, which are pictures.

    Args:
        images: an array or a tensor of one image [C, H, W], or of several.
        batch: 1 for several.

    Raises:
        ValueError: they are no numbers, or their channels come last.
    """
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "biuf":
            raise ValueError(
                f"numbers are needed, all images of one shape; got {images.dtype}. Give PIL images otherwise"
            )
        is_floating, repair = images.dtype.kind == "f", "numpy.moveaxis(images, -1, -3)"
    elif isinstance(images, Tensor):
        if images.is_complex():
            raise ValueError(f"real numbers are needed; got {images.dtype}. Give two channels")
        is_floating, repair = images.is_floating_point(), "images.movedim(-1, -3)"
    else:
        raise ValueError(f"PIL images, tensors or arrays are needed; got {type(images).__name__}")
    if not is_floating:
        return None
    if looks_channels_last(tuple(images.shape[batch:])):
        raise ValueError(f"channels are needed first, [C, H, W]; got {list(images.shape[batch:])}. Write {repair}")
    # Through NumPy for numbers in another order of bytes.
    return torch.from_numpy(images.astype(np.float32)) if isinstance(images, np.ndarray) else images.detach().float()


def whole_label(name: str, label: Any, whose: str) -> int:
    """A label as a whole number.

    Args:
        name: "train" or "test", for the error.
        whose: which label it is, for the error.

    Raises:
        ValueError: it is something else. Nothing is rounded.
    """
    if is_whole(label) and int(label) >= 0:
        return int(label)
    repair = "Give an int"
    if isinstance(label, str):
        repair = "Number the classes, as in {'cat': 0, 'dog': 1}[label]"
    elif isinstance(label, float | np.floating):
        repair = "Give int(label) if it is whole"
    shown = " ".join(repr(label.item() if isinstance(label, np.generic) else label).split())[:60]
    raise ValueError(f"{name} needs one whole label from 0 up for each image; {whose}{shown}. {repair}.")


def is_whole(label: Any) -> bool:
    """Whether it is one whole number: an int, or an array or tensor with one."""
    if isinstance(label, Tensor):
        return label.numel() == 1 and not (label.is_floating_point() or label.is_complex())
    if isinstance(label, np.ndarray | np.generic):
        return label.size == 1 and label.dtype.kind in "biu"
    return isinstance(label, int)
