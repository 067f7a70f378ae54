"""One record for each image, made when data are loaded.

The description of the data, the digest that a run depends on and the scale of deep pictures all come from these
records, so that nothing is read twice.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchmoments_lab.data.picture import Levels, decoded, floats, is_cut_by_pillow

# digest: of the values; 0 if they are others at each read. bits: of a value, 0 for floating point. whole: no value
# has a fraction. colour: the channels differ. cut: of each colour Pillow reads the upper half of the bits.
# low, high: the lowest and the highest value, NaN if one is; of a deep picture those between which nearly all lie.
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


def record(image: Any) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """The record of any image; and its shape, None if it is a picture.

    Raises:
        ValueError: it cannot be used, see `picture_record` and `picture.floats`.
    """
    tensor = None if isinstance(image, Image.Image) else floats(image)
    return (picture_record(image), None) if tensor is None else (tensor_records(tensor[None])[0], tuple(tensor.shape))


def picture_record(picture: Any) -> np.ndarray:
    """The record of a picture, which is read here.

    Raises:
        ValueError: a value is not finite. Pillow may raise anything for a damaged file.
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
    colour = values.ndim == 3 and any((values[..., 0] != values[..., channel]).any() for channel in (1, 2))
    return np.array((_digest(same), low, high, width, height, bits, whole, colour, cut), RECORD)


def tensor_records(images: Tensor) -> np.ndarray:
    """[N] records of images in memory, [N, ..., H, W]."""
    values = images.detach().cpu()
    array = (values if values.dtype == torch.uint8 else values.float()).contiguous().numpy()
    records = np.zeros(len(array), RECORD)
    flat = array.reshape(len(array), -1)
    records["low"], records["high"] = flat.min(1), flat.max(1)
    records["width"], records["height"] = array.shape[-1], array.shape[-2] if array.ndim > 2 else 1
    records["bits"] = 8 if array.dtype == np.uint8 else 0
    records["colour"] = array.ndim == 4 and array.shape[1] == 3
    records["digest"] = [_digest(image) for image in array]
    return records


def levels_of(records: np.ndarray) -> Levels | None:
    """The lowest and the highest of the values that deep pictures hold; None if all have 8 bits.

    If they are the whole numbers of 8 bits, whatever they are kept in, black and white are 0 and 255.

    Args:
        records: of the training pictures alone. Nothing is estimated from test images.
    """
    deep = records[records["bits"] != 8]
    if not len(deep):
        return None
    low, high = float(deep["low"].min()), float(deep["high"].max())
    return (0.0, 255.0) if deep["whole"].all() and low >= 0 and 128 <= high <= 255 else (low, high)


def _digest(values: np.ndarray) -> int:
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return int.from_bytes(digest.digest()[:8], "little")
