"""The function `your.module:make_data`, and the images of a Dataset, which another process may have to make again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from torchmoments_lab.function import find_function
from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.random_numbers import fixed_random_numbers


def make(name: str) -> tuple[Any, Any]:
    """(train, test) as the function returns them. A split or images that it draws at random are the same each time.

    Raises:
        ValueError: it cannot be imported, fails, or returns something else.
    """
    return _made_by(find_function("data", name), name)


def _made_by(function: Callable[..., Any], name: str) -> tuple[Any, Any]:
    try:
        with fixed_random_numbers(0), exits_are_errors():
            returned = function()
    except Exception as error:
        raise ValueError(
            f"data needs {name}() to run without arguments; got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise ValueError(f"data needs {name}() to return (train, test); got {type(returned).__name__}.")
    train, test = returned
    return train, test


# For a process that only trains: both Datasets from one call.
made_once = lru_cache(maxsize=1)(_made_by)


@dataclass(frozen=True, eq=False)
class DatasetImages(Sequence[Any]):
    """The images of a Dataset.

    Args:
        dataset: of (image, label), or of dicts; None: the one that `origin` makes.
        keys: of the image and of the label in an item.
        origin: (function, which of its two Datasets). Another process calls the function again, as a Dataset may hold
            open files; None: the Dataset is pickled itself.
        labels: those that the items had when all were read. Another one now is refused: it would be of another image.
    """

    dataset: Any
    keys: tuple[Any, Any]
    origin: tuple[str, int] | None
    labels: np.ndarray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            return DatasetImages, (self.dataset, self.keys, None, self.labels)
        return _again, (self.keys, self.origin, self.labels)

    def __len__(self) -> int:
        return len(self.dataset)

    def pair(self, index: int) -> tuple[Any, Any]:
        """(image, label)"""
        item = self.dataset[index]
        return item[self.keys[0]], item[self.keys[1]]

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        image, label = self.pair(index)
        if self.labels is not None and int(label) != self.labels[index]:
            raise ValueError(
                f"items need to keep their labels; item {index} had {self.labels[index]} when the data were checked, "
                f"and has {int(label)} now. Seed what draws the images of train and test."
            )
        return image


def _again(keys: tuple[Any, Any], origin: tuple[str, int], labels: np.ndarray) -> DatasetImages:
    return made_again(find_function("data", origin[0]), keys, origin, labels)


def made_again(
    function: Callable[..., Any], keys: tuple[Any, Any], origin: tuple[str, int], labels: np.ndarray
) -> DatasetImages:
    """The images of a Dataset in another process, by the function that `origin` names."""
    name, which = origin
    return DatasetImages(made_once(function, name)[which], keys, origin, labels)
