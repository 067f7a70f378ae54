"""A user's own data: a function `your.module:make_data`, or the same objects given from Python.

    def make_data():
        return train, test        # each a torch Dataset of (image, label), or two arrays (images, labels)

Floating point images are taken as they are, [C, H, W] each, normalized as the network wants them. PIL images and whole
numbers are pictures, and treated like those of a folder. Labels are whole numbers from 0. All of it is read once here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchmoments_lab.data.folder import MEAN, STD, printable
from torchmoments_lab.data.items import Half, read_half
from torchmoments_lab.data.split import Data


def from_objects(train: Any, test: Any, function: str | None = None) -> Data:
    """Data of two torch Datasets or two pairs of arrays.

    Args:
        function: the name of the function that made them, if there is one.

    Raises:
        ValueError: they are neither, or their images or labels do not fit.
    """
    halves = [
        read_half(name, given, None if function is None else (function, which))
        for which, (name, given) in enumerate((("train", train), ("test", test)))
    ]
    shapes = [half.shape for half in halves]
    if shapes[0] != shapes[1]:
        shown = ["pictures" if shape is None else str(list(shape)) for shape in shapes]
        raise ValueError(
            f"train and test need images of one kind; got {shown[0]} and {shown[1]}. Make both in one way."
        )
    train_split, test_split = (half.split for half in halves)
    remarks = tuple(half.remark for half in halves if half.remark is not None)
    classes = _classes(halves)
    if shapes[0] is None:
        return Data(train_split, test_split, classes, peak=255.0, mean=MEAN, std=STD, remarks=remarks)
    return Data(train_split, test_split, classes, is_normalized=True, item_shape=shapes[0], remarks=remarks)


def _classes(halves: Sequence[Half]) -> tuple[str, ...]:
    """The names of the classes, or their numbers if there are no names. Each needs a training image."""
    number = 1 + max(int(half.split.labels.max()) for half in halves)
    present = np.unique(halves[0].split.labels.numpy()).tolist()
    if len(present) < max(2, number):
        missing = next((index for index, label in enumerate(present) if index != label), len(present))
        without = f" without {missing}" if missing < number else ""
        raise ValueError(
            f"train needs an image of each class, and two classes or more; got labels up to {number - 1}{without}."
        )
    names = halves[0].classes
    has_names = isinstance(names, Sequence) and len(names) == number
    return tuple(printable(str(name)) for name in (names if has_names and names else range(number)))
