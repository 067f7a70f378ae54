"""A user's training or test set, checked and recorded item by item: arrays, or a torch Dataset of (image, label) or of
dicts with one of each as Hugging Face's are.

The label of an item is the one that counts, whatever `targets` says: a `target_transform` changes only the item.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from torchmoments_lab.data.dataset import DatasetImages
from torchmoments_lab.data.picture import DEEP, channels_last, float32
from torchmoments_lab.data.records import RECORD, record
from torchmoments_lab.data.split import Split
from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.random_numbers import fixed_random_numbers

# Items that are read twice, to see whether they are the same each time.
_TWICE = 32


@dataclass(frozen=True)
class Half:
    """The training or the test set."""

    split: Split
    # Of an image; None: pictures.
    shape: tuple[int, ...] | None
    # The names of the classes, if the user's object has them.
    classes: Sequence[str] | None = None
    # What a user has to know.
    remark: str | None = None


def read_half(name: str, given: Any, origin: tuple[str, int] | None) -> Half:
    """Read each image once.

    Args:
        name: "train" or "test", for errors.
        origin: see `DatasetImages`.

    Raises:
        ValueError: it is neither a Dataset nor a pair of arrays, or an image or a label cannot be used.
    """
    # A subclass may give other items than its tensors.
    pair = given.tensors if type(given) is TensorDataset else given
    if isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], Tensor | np.ndarray):
        return _arrays(name, *pair)
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise ValueError(
            f"{name} needs a torch Dataset with a length, or (images, labels) as tensors; got {type(given).__name__}."
        )
    if len(given) == 0:
        raise ValueError(f"{name} needs images; got an empty {type(given).__name__}.")
    _refuse_what_torchvision_cuts(name, given)
    return _items(name, given, origin)


def _arrays(name: str, images: Any, labels: Any) -> Half:
    if images.ndim < 2 or 0 in images.shape:
        raise ValueError(
            f"{name} needs numbers [N, C, H, W], all images of one shape; got {images.dtype} {list(images.shape)}. "
            "Give a Dataset of PIL images if they are of several."
        )
    if np.shape(labels) != (len(images),):
        raise ValueError(
            f"{name} needs one whole label from 0 up for each of its {len(images)} images; got labels of shape "
            f"{list(np.shape(labels))}."
        )
    labels = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    half = _checked(name, images, zip(images, labels, strict=True))
    rows = float32(images) if half.shape is not None else cast(Sequence[Any], channels_last(images, batch=1))
    return replace(half, split=replace(half.split, images=rows))


def _items(name: str, dataset: Any, origin: tuple[str, int] | None) -> Half:
    """Read a Dataset, with the random numbers that its transforms draw for test images."""
    number = len(dataset)

    def get(read: Callable[[int], Any], index: int, seed: int = 0) -> Any:
        try:
            with fixed_random_numbers(seed), exits_are_errors():
                return read(index)
        except Exception as error:
            # A user's own code runs here, so anything may come.
            raise ValueError(
                f"{name} needs {number:,} items that can be read, all like item 0; item {index} raised "
                f"{type(error).__name__}: {error}."
            ) from error

    images = DatasetImages(dataset, _keys(name, get(dataset.__getitem__, 0)), origin)
    half = _checked(name, images, (get(images.pair, index) for index in range(number)))
    labels, records = half.split.labels.numpy(), half.split.records
    twice = np.linspace(0, number - 1, min(number, _TWICE)).astype(int).tolist()
    for index in twice:
        label = _whole_label(name, get(images.pair, index, seed=1)[1], index)
        if label != labels[index]:
            raise ValueError(
                f"{name} needs labels that stay; item {index} gave {labels[index]}, and {label} when it was read "
                "again. Draw them once."
            )
    again = [record(get(images.pair, index)[0])[0]["digest"] for index in twice]
    remark = None
    if (records["digest"][twice] != again).any():
        records["digest"] = 0
        remark = (
            f"The images of {name} differ each time they are read, even with the same random numbers of torch, NumPy "
            "and Python: other images with the same labels will not be noticed."
        )
    split = replace(half.split, images=replace(images, labels=labels))
    return replace(half, split=split, classes=_class_names(dataset, images.keys[1]), remark=remark)


def _checked(name: str, images: Any, pairs: Iterable[tuple[Any, Any]]) -> Half:
    """Check all (image, label), and record them."""
    labels, records = np.empty(len(images), np.int64), np.empty(len(images), RECORD)
    first = None
    for index, (image, label) in enumerate(pairs):
        labels[index] = _whole_label(name, label, index)
        try:
            records[index], shape = record(image)
        except Exception as error:
            # Pillow may raise anything for a damaged file.
            why = str(error) or type(error).__name__
            raise ValueError(f"{name} needs images that can be used; item {index}: {why}.") from error
        first = shape if index == 0 else first
        if shape != first:
            raise ValueError(
                f"{name} needs images of one shape, or PIL images of any; got {_shown(first)} and, as item "
                f"{index}, {_shown(shape)}. Resize them in the data set."
            )
    bad = np.flatnonzero(~np.isfinite(records["low"] + records["high"]))
    if len(bad):
        raise ValueError(
            f"{name} needs finite numbers; {len(bad):,} of its {len(labels):,} images have others, item {bad[0]} is "
            "the first. Repair or remove them."
        )
    return Half(Split(images, torch.from_numpy(labels), records), first)


def _keys(name: str, item: Any) -> tuple[Any, Any]:
    """The keys of the image and of the label in an item."""
    if isinstance(item, tuple | list) and len(item) > 1:
        return 0, 1
    if not isinstance(item, Mapping):
        raise ValueError(f"{name} needs items (image, label), or dicts with one of each; got {type(item).__name__}.")
    images = [key for key, value in item.items() if isinstance(value, Image.Image) or getattr(value, "ndim", 0) > 1]
    labels = [key for key, value in item.items() if _whole(value) is not None]
    labels = [key for key in labels if key in ("label", "labels")] or labels
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"{name} needs items with one image and one whole label; got a dict of {', '.join(map(repr, item))}. Give "
            "tuples (image, label)."
        )
    return images[0], labels[0]


def _refuse_what_torchvision_cuts(name: str, dataset: Any) -> None:
    """Raise ValueError if the loader turns all values above 255 into white, as ImageFolder's default does."""
    behind = _behind_subsets(dataset)
    if getattr(getattr(behind, "loader", None), "__name__", "") != "default_loader":
        return
    for path, *_ in getattr(behind, "samples", ()):
        with Image.open(path) as image:
            if image.mode.startswith(DEEP):
                raise ValueError(
                    f"{name} needs a loader that keeps more than 8 bits; that of {type(behind).__name__} cuts '{path}' "
                    "off at 255. Write --data folder:PATH, or loader=PIL.Image.open."
                )


def _behind_subsets(dataset: Any) -> Any:
    """The Dataset behind a Subset, or behind a Subset of one."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _class_names(dataset: Any, label: Any) -> Sequence[str] | None:
    """Hugging Face's names of a column of labels, or torchvision's `classes` unless the labels were changed."""
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        return getattr(features.get(label), "names", None)
    behind = _behind_subsets(dataset)
    unchanged = getattr(behind, "target_transform", None) is None
    return getattr(behind, "classes", None) if unchanged else None


def _shown(shape: tuple[int, ...] | None) -> str:
    return "a picture" if shape is None else str(list(shape))


def _whole_label(name: str, label: Any, index: int) -> int:
    """A label as a whole number; nothing is rounded."""
    number = _whole(label)
    if number is not None and number >= 0:
        return number
    repair = "Give an int"
    if isinstance(label, str):
        repair = "Number the classes, as in {'cat': 0, 'dog': 1}[label]"
    elif isinstance(label, float | np.floating):
        repair = "Give int(label) if it is whole"
    shown = " ".join(repr(label.item() if isinstance(label, np.generic) else label).split())[:60]
    raise ValueError(f"{name} needs one whole label from 0 up for each image; item {index} has {shown}. {repair}.")


def _whole(label: Any) -> int | None:
    """An int, or the only element of an array or tensor of whole numbers; None if the label is something else."""
    try:
        value: Any = label.item() if isinstance(label, Tensor | np.ndarray | np.generic) else label
        return int(operator.index(value))
    except (TypeError, ValueError, RuntimeError):
        return None
