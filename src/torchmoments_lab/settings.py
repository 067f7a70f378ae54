"""Settings whose values have the types that they are declared with.

The command line gives nothing else; Python may give anything: numbers of NumPy, a list, "False" for False.
"""

import os
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal, get_args, get_origin

_WANTED: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
    tuple: "a list or tuple of strings",
}
# For a message about a setting without a default that can be shown.
_EXAMPLES: dict[Any, Any] = {int: 1, float: 0.1, str: "name", Path: "folder"}


@dataclass(frozen=True)
class Settings:
    """Base of all dataclasses of settings: looks at each value when one is made.

    Whole numbers are taken for decimal ones, strings for paths, lists for tuples, and scalars of NumPy and PyTorch for
    Python's; they are kept as what the field declares.

    Raises:
        ValueError: a value is of another type.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _as_declared(field, getattr(self, field.name)))


def _as_declared(field: Field[Any], given: Any) -> Any:
    kind: Any
    kinds = [field.type] if get_origin(field.type) in (tuple, Literal) else get_args(field.type) or [field.type]
    if given is None and type(None) in kinds:
        return None
    (kind,) = (kind for kind in kinds if kind is not type(None))
    value = given.item() if getattr(given, "shape", None) == () else given
    if get_origin(kind) is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return value
        raise ValueError(f"{field.name} needs one of {', '.join(get_args(kind))}; got {short(given)}.")
    kind = get_origin(kind) or kind
    if _fits(kind, value):
        return value if kind in (str, bool) else kind(value)
    raise ValueError(
        f"{field.name} needs {_WANTED[kind]}; got {short(given)}, of type {type(given).__name__}. "
        f"Write {field.name}={_example(field, kind, value)!r}{', for example' if kind is not tuple else ''}."
    )


def _fits(kind: Any, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, tuple | list) and all(isinstance(word, str) for word in value)
    if kind is Path:
        return isinstance(value, str | os.PathLike)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _example(field: Field[Any], kind: Any, value: Any) -> Any:
    if kind is tuple and isinstance(value, str):
        return (value,)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    default = _EXAMPLES.get(kind) if field.default in (None, MISSING) else field.default
    return str(default) if kind is Path else default
