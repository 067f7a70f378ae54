"""What a model gives: tensors, and what holds them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in a tensor, tuple, list, dict or object of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        for part in vars(value).values():
            if isinstance(part, Tensor | Mapping | tuple | list):
                yield from tensors_in(part)
