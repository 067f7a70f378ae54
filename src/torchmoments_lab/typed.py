"""Settings whose values have the types that they are declared with, alone or in groups.

The command line passes nothing else; Python may pass anything: numbers of NumPy, a list, "False" for False.
"""

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal, Self, get_args, get_origin

from torchmoments_lab.lengths import check_path

_WANTED: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
}
# Of terminals, and those that turn the direction of what follows.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# For a message about a setting without a default that can be shown.
_EXAMPLES: dict[Any, Any] = {int: 1, float: 0.1, str: "name", Path: "folder"}


@dataclass(frozen=True)
class Settings:
    """Base of all dataclasses of settings: looks at each value when one is made.

    Whole numbers are accepted for decimals, strings for paths, lists for tuples, and scalars of NumPy and PyTorch for
    Python's; they are kept as what the field declares. A field may be a group of settings.

    Raises:
        ValueError: a value is of another type.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Settings):
                object.__setattr__(self, field.name, _as_declared(field, value))

    def check(self) -> None:
        """Raise ValueError for a value that makes no sense, whatever data and network are."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                value.check()
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path):
                    check_path(field.name, path)

    def values(self) -> dict[str, Any]:
        """{name: value} of all settings, those in groups too."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            found |= value.values() if isinstance(value, Settings) else {field.name: value}
        return found

    def with_values(self, **values: Any) -> Self:
        """The same settings with other values for some names, which may be in groups.

        Raises:
            ValueError: there is no such setting, or a value is of another type.
        """
        known = self.values()
        for name in values:
            if name not in known:
                raise ValueError(f"{type(self).__name__.lower()} has no setting {name!r}. {nearest(name, known)}")
        changed = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                changed[field.name] = value.with_values(**{k: v for k, v in values.items() if k in value.values()})
            elif field.name in values:
                changed[field.name] = values[field.name]
        return replace(self, **changed)


def as_flag(name: str, value: Any) -> list[str]:
    """The command-line arguments that set a setting to this value."""
    flag = name.replace("_", "-")
    if value is None or value == ():
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *(str(v) for v in (value if isinstance(value, tuple | list) else [value]))]


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word most like `word`, and all of them if they are few."""
    known = list(known)
    match = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    found = f"Nearest: {match[0]!r}. " if match else ""
    return found + f"All: {', '.join(known)}." if len(known) <= 20 else found.strip() or "None is like it."


def visible(text: str) -> str:
    """Text with control characters as escape sequences: the name of a folder may have some that a terminal obeys."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(error: BaseException, most: int | None = 300) -> str:
    """What an error says, in so many characters."""
    return " ".join(str(error).split())[:most]


def counted(number: float, what: str, many: str | None = None) -> str:
    """1 seed, 1,200 seeds, 0.3 points, 2 classes.

    Args:
        many: the plural, if it is not with an s.
    """
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {what if number == 1 else many or f'{what}s'}"


def at_least(least: int, name: str, value: int | None, unit: str) -> None:
    """Raise ValueError unless the value is large enough, or None: left open."""
    if value is not None and value < least:
        flag = name.replace("_", "-")
        needed = f"{least} {unit}".rstrip()
        raise ValueError(f"{name} needs at least {needed}; got {value}. Write --{flag} {least} or more.")


def from_text(name: str, text: str, kind: Any) -> Any:
    """What is typed for a setting that is no list.

    Args:
        kind: the type of the setting.

    Raises:
        ValueError: `text` cannot be such a value. What to write instead is for the caller to say.
    """
    kinds = [value for one in kinds_of(kind) for value in (get_args(one) if get_origin(one) is Literal else [one])]
    if type(None) in get_args(kind) and text == "None":
        return None
    if bool in kinds and text in ("True", "False"):
        return text == "True"
    for number in (int, float, Path):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                continue
    if str in kinds or text in kinds:
        return text
    wanted = next((_WANTED[one] for one in kinds if one in _WANTED), f"one of {', '.join(map(str, kinds))}")
    raise ValueError(f"{name} needs {wanted}; got {text!r}.")


def kinds_of(kind: Any) -> list[Any]:
    """The alternatives of a type, without None."""
    alternatives = [kind] if get_origin(kind) in (tuple, Literal) else get_args(kind) or [kind]
    return [one for one in alternatives if one is not type(None)]


def example(field: Field[Any]) -> str:
    """What may be typed for a setting."""
    kind = kinds_of(field.type)[0]
    if get_origin(kind) is Literal:
        return str(get_args(kind)[-1])
    given = field.default
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
        given = " ".join(map(str, given)) if isinstance(given, tuple) else None
    return str(given if given not in (None, MISSING, "") else _EXAMPLES[kind])


def _as_declared(field: Field[Any], given: Any) -> Any:
    kind: Any
    kinds = [field.type] if get_origin(field.type) in (tuple, Literal) else get_args(field.type) or [field.type]
    if given is None and type(None) in kinds:
        return None
    value = given.item() if getattr(given, "shape", None) == () else given
    kind, *others = (kind for kind in kinds if kind is not type(None))
    kind = next((other for other in others if not _fits(kind, value) and _fits(other, value)), kind)
    if get_origin(kind) is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return value
        raise ValueError(f"{field.name} needs one of {', '.join(get_args(kind))}; got {short(given)}.")
    if _fits(kind, value):
        return value if kind in (str, bool) else (get_origin(kind) or kind)(value)
    inside = {int: "whole numbers", float: "numbers", str: "strings"}
    is_tuple = get_origin(kind) is tuple
    wanted = f"a list or tuple of {inside[get_args(kind)[0]]}" if is_tuple else _WANTED[kind]
    kind = get_origin(kind) or kind
    raise ValueError(
        f"{field.name} needs {wanted}; got {short(given)}, of type {type(given).__name__}. "
        f"Write {field.name}={_example(field, kind, value)!r}{', for example' if kind is not tuple else ''}."
    )


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, tuple | list) and all(_fits(get_args(kind)[0], item) for item in value)
    if kind is Path:
        return isinstance(value, str | os.PathLike)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _example(field: Field[Any], kind: Any, value: Any) -> Any:
    if get_origin(field.type) is tuple and str not in get_args(field.type):
        return (10, 20) if int in get_args(field.type) else (0.5,)
    if kind is tuple and isinstance(value, str):
        return (value,)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    default = _EXAMPLES.get(kind) if field.default in (None, MISSING) else field.default
    return str(default) if kind is Path else default
