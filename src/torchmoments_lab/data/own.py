"""A user's own data: a function `your.module:make_data`, or the same objects given from Python.

    def make_data():
        return train, test        # each a torch Dataset of (image, label), or two arrays (images, labels)

Floating point images are taken as they are, [C, H, W] each, normalized as the network wants them. PIL images and whole
numbers are pictures, and treated like those of a folder. Labels are whole numbers from 0. All of it is read once here.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from torchmoments_lab.data.folder import MEAN, STD, printable
from torchmoments_lab.data.items import Read, read_items
from torchmoments_lab.data.made import Half, make
from torchmoments_lab.data.picture import channels_last
from torchmoments_lab.data.seen import RECORD, see_picture
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.data.values import floats, whole_label


def call_make_data(name: str) -> Data:
    """What the function `module:function` gives.

    Raises:
        ValueError: it cannot be imported, fails, or gives something else.
    """
    return from_objects(*make(name), function=name)


def from_objects(train: Any, test: Any, function: str | None = None) -> Data:
    """Data of two torch Datasets or two pairs of arrays.

    Args:
        function: the name of what made them, see `items.Half`.

    Raises:
        ValueError: they are neither, or their images or labels do not fit.
    """
    parts = [
        _read(name, given, None if function is None else Half(function, number))
        for number, (name, given) in enumerate((("train", train), ("test", test)))
    ]
    shapes = [part.shape for part in parts]
    if shapes[0] != shapes[1]:
        shown = ["pictures" if shape is None else str(list(shape)) for shape in shapes]
        raise ValueError(
            f"train and test need images of one kind; got {shown[0]} and {shown[1]}. Make both in one way."
        )
    splits = parts[0].split, parts[1].split
    number = 1 + max(int(split.labels.max()) for split in splits)
    present = np.unique(splits[0].labels.numpy()).tolist()
    if len(present) < max(2, number):
        missing = next((index for index, label in enumerate(present) if index != label), len(present))
        raise ValueError(
            f"train needs an image of each class, and two classes or more; got labels up to {number - 1}"
            + (f" without {missing}." if missing < number else ".")
        )
    names = parts[0].classes
    known = isinstance(names, Sequence) and len(names) == number
    classes = tuple(printable(str(name)) for name in (names if known and names else range(number)))
    remarks = tuple(part.remark for part in parts if part.remark is not None)
    if shapes[0] is None:
        return Data(*splits, classes, peak=255.0, mean=MEAN, std=STD, remarks=remarks)
    return Data(*splits, classes, is_normalized=True, item_shape=shapes[0], remarks=remarks)


def _read(name: str, given: Any, half: Half | None) -> Read:
    # A subclass may give other items than its tensors.
    if type(given) is TensorDataset and len(given.tensors) == 2:
        return _from_arrays(name, *given.tensors)
    if isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[0], Tensor | np.ndarray):
        return _from_arrays(name, *given)
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise ValueError(
            f"{name} needs a torch Dataset with a length, or (images, labels) as tensors; got {type(given).__name__}."
        )
    return read_items(name, given, half)


def _from_arrays(name: str, images: Any, labels: Any) -> Read:
    targets = _labels(name, labels, len(images) if images.ndim else 1)
    try:
        tensor = floats(images, batch=1)
        if images.ndim < 2 or 0 in images.shape:
            raise ValueError(f"a shape [N, C, H, W] is needed; got {list(images.shape)}")
        if tensor is None:
            rows = channels_last(images, batch=1)
            seen = np.array([see_picture(row) for row in rows], RECORD)
            return Read(Split(cast(Sequence[Any], rows), targets, seen), None)
    except ValueError as error:
        raise ValueError(f"{name} needs images that can be used; {error}.") from error
    split = Split.in_memory(tensor, targets)
    assert split.seen is not None
    bad = np.flatnonzero(~np.isfinite(split.seen["low"] + split.seen["high"]))
    if len(bad):
        raise ValueError(
            f"{name} needs finite numbers; {len(bad):,} of its {len(images):,} images have others, image {bad[0]} is "
            "the first. Repair or remove them."
        )
    return Read(split, tuple(tensor.shape[1:]))


def _labels(name: str, given: Any, images: int) -> Tensor:
    labels = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if labels.shape != (images,):
        raise ValueError(
            f"{name} needs one whole label from 0 up for each of its {images} images; got {labels.dtype} "
            f"{list(labels.shape)}."
        )
    whole = np.array([whole_label(name, label, f"image {index} has ") for index, label in enumerate(labels)])
    return torch.from_numpy(whole.astype(np.int64))
