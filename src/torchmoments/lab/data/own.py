"""A user's own data: a function `your.module:make_data`, or the same objects given from Python.

    def make_data():
        return train, test        # each a torch Dataset of (image, label), or two tensors (images, labels)

Images are floating point tensors, [C, H, W] each, normalized as the network wants them; or PIL images, which are
treated like those of a folder. Labels are whole numbers from 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchmoments.lab.data.split import Data, Split
from torchmoments.lab.function import find_function

# ImageNet's, for PIL images.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DatasetImages(Sequence[Any]):
    """The images of a torch Dataset, without the labels."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        return self.dataset[index][0]


def call_make_data(name: str) -> Data:
    """What the function `module:function` gives.

    Raises:
        ValueError: it cannot be imported, fails, or gives something else.
    """
    given = find_function("data", name)
    try:
        made = given()
    except Exception as error:
        raise ValueError(
            f"data needs {name}() to run without arguments; got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise ValueError(f"data needs {name}() to give (train, test); got {type(made).__name__}.")
    return from_objects(*made)


def from_objects(train: Any, test: Any) -> Data:
    """Data of two torch Datasets or two pairs of tensors.

    Raises:
        ValueError: they are neither, or their images or labels do not fit.
    """
    splits = _split("train", train), _split("test", test)
    number = 1 + max(int(split.labels.max()) for split in splits)
    if len(set(splits[0].labels.tolist())) < max(2, number):
        missing = sorted(set(range(number)) - set(splits[0].labels.tolist()))
        raise ValueError(
            f"train needs an image of each class, and two classes or more; got labels up to {number - 1}"
            + (f" without {missing[0]}." if missing else ".")
        )
    names = next((c for c in (getattr(train, "classes", None),) if isinstance(c, Sequence) and len(c) == number), None)
    classes = tuple(map(str, names if names is not None else range(number)))
    first = _first(splits[0])
    if not isinstance(first, Tensor):
        return Data(*splits, classes, peak=255.0, mean=_MEAN, std=_STD)
    if not first.is_floating_point():
        raise ValueError(
            f"images need to be floating point tensors or PIL images; got {first.dtype}. "
            "Write images.float() / 255 and normalize."
        )
    if not bool(torch.isfinite(first).all()):
        raise ValueError("images need finite numbers; the first of train has others.")
    return Data(*splits, classes, is_normalized=True)


def _split(name: str, given: Any) -> Split:
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(part, Tensor) for part in given):
        images, labels = given
        return Split(images, _labels(name, labels, len(images)))
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise ValueError(
            f"{name} needs a torch Dataset with a length, or (images, labels) as tensors; got {type(given).__name__}."
        )
    tensors = getattr(given, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return Split(tensors[0], _labels(name, tensors[1], len(tensors[0])))
    return Split(DatasetImages(given), _labels(name, _targets(name, given), len(given)))


def _targets(name: str, dataset: Any) -> Any:
    """`targets` where the data set has them, as torchvision's do; of a Subset those of its indices; or item by item."""
    if hasattr(dataset, "targets"):
        return dataset.targets
    inner, indices = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and hasattr(inner, "targets") and indices is not None:
        return [inner.targets[index] for index in indices]
    try:
        return [int(dataset[index][1]) for index in range(len(dataset))]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{name} needs items (image, label) with whole labels; got {error}.") from error


def _labels(name: str, given: Any, images: int) -> Tensor:
    labels = torch.as_tensor(given)
    if labels.ndim != 1 or labels.is_floating_point() or len(labels) != images or images == 0 or int(labels.min()) < 0:
        raise ValueError(
            f"{name} needs one whole label from 0 up for each of its {images} images; got {labels.dtype} "
            f"{list(labels.shape)}."
        )
    return labels.to(torch.int64).cpu()


def _first(split: Split) -> Any:
    image = split.images[0]
    return image if isinstance(image, Tensor) or hasattr(image, "convert") else torch.as_tensor(image)
