"""One reader for all images: files, PIL images of a user's Dataset, arrays and tensors.

Floating point numbers are normalized, and taken as they are. All others are pictures, and read as

    8 bits    PIL image, RGB: upright as the camera was held, transparent parts over white
    deeper    array [H, W] or [H, W, 3] of the values as they are: 16 and 32 bits, floating point

The type of a deep picture does not tell which value is white: 12 bits are kept in files of 16, and Hounsfield units
begin below 0. So deep pictures are scaled by what the training pictures of the whole data set hold, see
`records.levels_of`.
"""

from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

# The values that become black and white.
Levels = tuple[float, float]

_CHANNELS = (1, 3, 4)
# How Pillow's modes of more than 8 bits begin.
DEEP = ("I", "F")


def decoded(picture: Image.Image | np.ndarray | Tensor) -> Image.Image | np.ndarray:
    """The picture in one of the two forms above; one that is in such a form already is returned as it is.

    Raises:
        ValueError: an array of another shape, or colours that Pillow cannot convert.
    """
    if not isinstance(picture, Image.Image):
        rows = channels_last(picture)
        if rows.dtype != np.uint8:
            if rows.ndim == 3 and rows.shape[2] == 4:
                raise ValueError("pictures of more than 8 bits need 1 or 3 channels; got 4. Leave the fourth out")
            return rows
        picture = Image.fromarray(rows)
    if _orientation(picture) > 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(DEEP):
        return np.asarray(picture)
    if picture.has_transparency_data:
        # Pages and screens have white behind drawings and logos.
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode == "RGB":
        picture.load()
        return picture
    return picture.convert("RGB")


def scaled(values: np.ndarray, levels: Levels | None) -> Tensor:
    """A deep picture as float32 [3, H, W]: 0 at the first of the levels, 255 at the second.

    Nothing is rounded, and nothing is cut off: test pictures may hold more than training pictures.

    Raises:
        ValueError: there are no levels, because none of the training pictures was deep when they were read.
    """
    if levels is None:
        raise ValueError(
            "pictures need the depth that they had when the data were checked; got one of more than 8 bits."
        )
    low, high = levels
    # All pictures may be of one value.
    factor = 255 / (high - low) if high > low else 0.0
    x = torch.from_numpy(((values.astype(np.float64) - low) * factor).astype(np.float32))
    return x.movedim(-1, 0) if x.ndim == 3 else x.expand(3, -1, -1)


def channels_last(array: np.ndarray | Tensor, batch: int = 0) -> np.ndarray:
    """Whole numbers as [H, W] or, if they have 3 or 4 channels, [H, W, channels], judged by their shape.

    If the first and the last axis could be channels, they are the first of a tensor and the last of an array.

    Args:
        batch: axes in front that are left alone.

    Raises:
        ValueError: it cannot be a picture.
    """
    values = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if values.dtype == np.int8:
        # Only bytes without a sign are taken as they are.
        values = values.astype(np.int16)
    shape = values.shape[batch:]
    if len(shape) == 2:
        return values
    ends = [len(shape) == 3 and shape[end] in _CHANNELS for end in (0, -1)]
    if not any(ends):
        raise ValueError(
            f"pictures of whole numbers need a shape [H, W] or 1, 3 or 4 channels; got {list(shape)}. Others need to "
            "be floating point, and normalized"
        )
    if ends[0] and (isinstance(array, Tensor) or not ends[1]):
        values = np.moveaxis(values, batch, -1)
    return np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)


def looks_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an image [H, W, channels] was given in place of [channels, H, W]."""
    if len(shape) != 3 or shape[0] in _CHANNELS or min(shape[:2]) <= max(_CHANNELS):
        return False
    # A last axis of 1 may also be the width of a series in time.
    return shape[2] in (3, 4) or (shape[2] == 1 and shape[0] == shape[1])


def taken_as_it_is(image: Any) -> Tensor:
    """A floating point image as float32.

    Raises:
        ValueError: it is something else.
    """
    tensor = floats(image)
    if tensor is None:
        raise ValueError(f"images need to stay floating point, as when they were checked; got {image.dtype}.")
    return tensor


def floats(image: Any) -> Tensor | None:
    """A floating point image as float32, which is taken as normalized; None: whole numbers, which are a picture.

    Raises:
        ValueError: it is no array or tensor of numbers, or its channels come last.
    """
    if isinstance(image, np.ndarray):
        kind, move = image.dtype.kind, "numpy.moveaxis(images, -1, -3)"
        if kind not in "biuf":
            raise ValueError(f"numbers are needed; got {image.dtype}. Give PIL images otherwise")
    elif isinstance(image, Tensor):
        kind, move = "f" if image.is_floating_point() else "i", "images.movedim(-1, -3)"
        if image.is_complex():
            raise ValueError(f"real numbers are needed; got {image.dtype}. Give two channels")
    else:
        raise ValueError(f"PIL images, tensors or arrays are needed; got {type(image).__name__}")
    if kind != "f":
        return None
    if looks_channels_last(tuple(image.shape)):
        raise ValueError(f"channels are needed first, [C, H, W]; got {list(image.shape)}. Write {move}")
    return float32(image)


def float32(values: np.ndarray | Tensor) -> Tensor:
    # Through NumPy for numbers in another order of bytes.
    return torch.from_numpy(values.astype(np.float32)) if isinstance(values, np.ndarray) else values.detach().float()


def is_cut_by_pillow(picture: Any) -> bool:
    """Whether a file has 16 bits a colour, of which Pillow reads the upper 8. Ask before it is loaded."""
    if not isinstance(picture, Image.Image) or picture.mode.startswith(DEEP):
        return False
    # None, not empty, for an icon in Pillow 10.3.
    return any(";16" in str(tile[3]) for tile in getattr(picture, "tile", None) or ())


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # A damaged block of EXIF may raise anything; the pixels are whole.
        return 1
