"""What reading each image once has shown: one record an image, made when data are loaded.

What the images are, what a run depends on, and how deep pictures are scaled all come from these records, so that
nothing is read twice.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmoments_lab.data.picture import Levels, decoded, is_cut_by_pillow

# digest: of the values; 0 where they are others at each read. bits: of a value, 0 for floating point. whole: no value
# has a fraction. colour: the channels differ. cut: of each colour Pillow reads the upper half of the bits.
# low, high: the lowest and the highest value, NaN if one is; of a deep picture those that nearly all lies between.
RECORD = np.dtype(
    [
        ("digest", np.uint64),
        ("low", np.float64),
        ("high", np.float64),
        ("width", np.int32),
        ("height", np.int32),
        ("bits", np.uint8),
        ("whole", np.bool_),
        ("colour", np.bool_),
        ("cut", np.bool_),
    ]
)
# In percent: cameras have pixels that are hot or dead.
_NEARLY_ALL = (0.1, 99.9)


def see_picture(picture: Any) -> np.ndarray:
    """The record of a picture, which is read here.

    Raises:
        ValueError: a value is not finite. Of a damaged file Pillow may raise anything.
    """
    cut = is_cut_by_pillow(picture)
    values = np.asarray(decoded(picture))
    if not values.size:
        raise ValueError("no pixels")
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("a value that is not finite")
    height, width = values.shape[:2]
    bits = 8 * values.dtype.itemsize if values.dtype.kind in "ui" else 0
    # Of the numbers, however many bytes in which order keep them.
    same = values if bits == 8 else values.astype(np.float64)
    if bits != 8:
        low, high = map(float, np.percentile(same, _NEARLY_ALL, method="nearest"))
    whole = bits > 0 or bool((same == np.rint(same)).all())
    colour = values.ndim == 3 and not _is_grey(values)
    return np.array((_digest(same), low, high, width, height, bits, whole, colour, cut), RECORD)


def see_tensors(images: Tensor) -> np.ndarray:
    """[N] records of images in memory, [N, ..., H, W]."""
    values = images.detach().cpu()
    array = (values if values.dtype == torch.uint8 else values.float()).contiguous().numpy()
    seen = np.zeros(len(array), RECORD)
    flat = array.reshape(len(array), -1)
    seen["low"], seen["high"] = flat.min(1), flat.max(1)
    seen["width"], seen["height"] = array.shape[-1], array.shape[-2] if array.ndim > 2 else 1
    seen["bits"] = 8 if array.dtype == np.uint8 else 0
    seen["colour"] = array.ndim == 4 and array.shape[1] == 3
    seen["digest"] = [_digest(image) for image in array]
    return seen


def levels(seen: np.ndarray) -> Levels | None:
    """The lowest and the highest of the values that deep pictures hold; None if all have 8 bits.

    Where they are the whole numbers of 8 bits, whatever they are kept in, black and white are 0 and 255.

    Args:
        seen: of the training pictures alone. Nothing is estimated from images that are judged on.
    """
    deep = seen[seen["bits"] != 8]
    if not len(deep):
        return None
    low, high = float(deep["low"].min()), float(deep["high"].max())
    return (0.0, 255.0) if deep["whole"].all() and low >= 0 and 128 <= high <= 255 else (low, high)


def _digest(values: np.ndarray) -> int:
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return int.from_bytes(digest.digest()[:8], "little")


def _is_grey(values: np.ndarray) -> bool:
    return all(np.array_equal(values[..., 0], values[..., channel]) for channel in (1, 2))
