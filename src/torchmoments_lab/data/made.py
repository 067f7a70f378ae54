"""What a user's function `your.module:make_data` gives: two data sets, which another process makes anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from torchmoments_lab.data.random_numbers import fixed_random_numbers
from torchmoments_lab.function import find_function


def make(name: str) -> tuple[Any, Any]:
    """(train, test) as the function gives them. A split or images that it draws at random are the same each time.

    Raises:
        ValueError: it cannot be imported, fails, or gives something else.
    """
    given = find_function("data", name)
    try:
        with fixed_random_numbers(0):
            made = given()
    except Exception as error:
        raise ValueError(
            f"data needs {name}() to run without arguments; got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise ValueError(f"data needs {name}() to give (train, test); got {type(made).__name__}.")
    train, test = made
    return train, test


@lru_cache(maxsize=1)
def make_once(name: str) -> tuple[Any, Any]:
    """For a process that only trains: both halves from one call."""
    return make(name)


@dataclass(frozen=True)
class Half:
    """One of the two data sets that a function makes. Another process calls the function again: a Dataset may hang on
    open files."""

    function: str
    number: int


class DatasetImages(Sequence[Any]):
    """The images of a Dataset.

    Args:
        dataset: of (image, label), or of dicts.
        keys: of the image and of the label in an item.
        labels: what the items gave when all were read. Another one now is refused: it would be of another image.
        half: where the Dataset comes from; None: it is pickled itself.
    """

    def __init__(self, dataset: Any, keys: tuple[Any, Any], labels: np.ndarray, half: Half | None) -> None:
        self.dataset = dataset
        self.keys = keys
        self.labels = labels
        self.half = half

    def __reduce__(self) -> tuple[Any, ...]:
        if self.half is None:
            return DatasetImages, (self.dataset, self.keys, self.labels, None)
        return _made_again, (self.keys, self.labels, self.half)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        item = self.dataset[index]
        image, label = item[self.keys[0]], int(item[self.keys[1]])
        if label != self.labels[index]:
            raise ValueError(
                f"items need to keep their labels; item {index} had {self.labels[index]} when the data were checked, "
                f"and has {label} now. Seed what draws the images of train and test."
            )
        return image


def _made_again(keys: tuple[Any, Any], labels: np.ndarray, half: Half) -> DatasetImages:
    return DatasetImages(make_once(half.function)[half.number], keys, labels, half)
