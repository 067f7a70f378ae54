"""A user's torch Dataset, read item by item: (image, label), or a dict with one of each as Hugging Face's give.

The label of an item is the one that counts, whatever `targets` says: a `target_transform` changes only the item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Subset

from torchmoments_lab.data.made import DatasetImages, Half
from torchmoments_lab.data.picture import DEEP
from torchmoments_lab.data.random_numbers import fixed_random_numbers
from torchmoments_lab.data.seen import RECORD, see_picture, see_tensors
from torchmoments_lab.data.split import Split
from torchmoments_lab.data.values import floats, is_whole, whole_label

# Items that are read twice, to see whether they are the same each time.
_TWICE = 32


@dataclass(frozen=True)
class Read:
    """A data set that was read.

    Args:
        split: its images, labels and records.
        shape: of an image; None: pictures.
        classes: their names, where they are known.
        remark: what a user has to know of it.
    """

    split: Split
    shape: tuple[int, ...] | None
    classes: Sequence[str] | None = None
    remark: str | None = None


def read_items(name: str, dataset: Any, half: Half | None) -> Read:
    """Read a Dataset once. Transforms in it draw as they do for the test images.

    Args:
        name: "train" or "test", for errors.

    Raises:
        ValueError: an item cannot be read, or is no finite image with a whole label, or the images have several shapes.
    """
    number = len(dataset)
    if number == 0:
        raise ValueError(f"{name} needs images; got an empty {type(dataset).__name__}.")
    _refuse_what_torchvision_cuts(name, dataset)
    keys = _keys(name, _item(name, dataset, 0))
    labels, seen = np.empty(number, np.int64), np.empty(number, RECORD)
    shapes = []
    for index in range(number):
        image, label = _parts(name, dataset, index, keys)
        labels[index] = whole_label(name, label, f"item {index} has ")
        seen[index], shape = _see(name, index, image)
        shapes.append(shape)
        if shape != shapes[0]:
            raise ValueError(
                f"{name} needs images of one shape, or PIL images of any; got {_shown(shapes[0])} and, as item "
                f"{index}, {_shown(shape)}. Resize them in the data set."
            )
    remark = None
    twice = np.linspace(0, number - 1, min(number, _TWICE)).astype(int).tolist()
    for index in twice:
        label = whole_label(name, _parts(name, dataset, index, keys, seed=1)[1], f"item {index} has ")
        if label != labels[index]:
            raise ValueError(
                f"{name} needs labels that stay; item {index} gave {labels[index]}, and {label} when it was read "
                "again. Draw them once."
            )
    again = [_see(name, index, _parts(name, dataset, index, keys)[0])[0]["digest"] for index in twice]
    if (seen["digest"][twice] != again).any():
        seen["digest"] = 0
        remark = (
            f"The images of {name} differ each time they are read, even with the same random numbers of torch, NumPy "
            "and Python: other images with the same labels will not be noticed."
        )
    images = DatasetImages(dataset, keys, labels, half)
    return Read(Split(images, torch.from_numpy(labels), seen), shapes[0], _class_names(dataset, keys[1]), remark)


def _item(name: str, dataset: Any, index: int, seed: int = 0) -> Any:
    try:
        with fixed_random_numbers(seed):
            return dataset[index]
    except Exception as error:
        # A user's own code runs here, so anything may come.
        raise ValueError(
            f"{name} needs {len(dataset):,} items that can be read; item {index} raised {type(error).__name__}: "
            f"{error}."
        ) from error


def _refuse_what_torchvision_cuts(name: str, dataset: Any) -> None:
    """Raise ValueError if a loader was at work that makes white of all above 255, as ImageFolder's own does."""
    whole = _whole(dataset)
    if getattr(getattr(whole, "loader", None), "__name__", "") != "default_loader":
        return
    for path, *_ in getattr(whole, "samples", ()):
        with Image.open(path) as image:
            if image.mode.startswith(DEEP):
                raise ValueError(
                    f"{name} needs a loader that keeps more than 8 bits; that of {type(whole).__name__} cuts '{path}' "
                    "off at 255. Write --data folder:PATH, or loader=PIL.Image.open."
                )


def _whole(dataset: Any) -> Any:
    """What a Subset, or a Subset of one, is a part of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _keys(name: str, item: Any) -> tuple[Any, Any]:
    """Where an item has its image and its label."""
    if isinstance(item, tuple | list) and len(item) > 1:
        return 0, 1
    if not isinstance(item, Mapping):
        raise ValueError(f"{name} needs items (image, label), or dicts with one of each; got {type(item).__name__}.")
    images = [key for key, value in item.items() if isinstance(value, Image.Image) or getattr(value, "ndim", 0) > 1]
    labels = [key for key, value in item.items() if is_whole(value)]
    labels = [key for key in labels if key in ("label", "labels")] or labels
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"{name} needs items with one image and one whole label; got a dict of {', '.join(map(repr, item))}. Give "
            "tuples (image, label)."
        )
    return images[0], labels[0]


def _parts(name: str, dataset: Any, index: int, keys: tuple[Any, Any], seed: int = 0) -> tuple[Any, Any]:
    item = _item(name, dataset, index, seed)
    try:
        return item[keys[0]], item[keys[1]]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(
            f"{name} needs items that are all alike; item {index} is no (image, label) as item 0 is."
        ) from error


def _see(name: str, index: int, image: Any) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """The record of an image; and its shape, None of a picture."""
    try:
        if isinstance(image, Image.Image):
            return see_picture(image), None
        tensor = floats(image)
        if tensor is None:
            return see_picture(image), None
        record = see_tensors(tensor[None])[0]
        if not np.isfinite([record["low"], record["high"]]).all():
            raise ValueError("a value that is not finite")
        return record, tuple(tensor.shape)
    except Exception as error:
        # Of a damaged file Pillow may raise anything.
        why = str(error) or type(error).__name__
        raise ValueError(f"{name} needs images that can be used; item {index}: {why}.") from error


def _shown(shape: tuple[int, ...] | None) -> str:
    return "a picture" if shape is None else str(list(shape))


def _class_names(dataset: Any, label: Any) -> Sequence[str] | None:
    """Hugging Face's names of a column of labels, or torchvision's `classes` unless the labels were changed."""
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        return getattr(features.get(label), "names", None)
    whole = _whole(dataset)
    unchanged = getattr(whole, "target_transform", None) is None
    return getattr(whole, "classes", None) if unchanged else None
