"""The words behind `torchmoments`: a command and its flags. What is wrong with them is said in one sentence."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin

from torchmoments_lab.typed import Settings, example, from_text, kinds_of, nearest

PROGRAM = "torchmoments"


def check(words: Sequence[str], commands: Mapping[str, type[Settings]]) -> None:
    """Look at the words before they are parsed.

    Raises:
        ValueError: no such command or flag, or a value that is missing, of another type, or too much.
    """
    command, *others = words or [""]
    if command not in commands:
        came = repr(command) if words else "none"
        raise ValueError(f"{PROGRAM} needs a command; got {came}. {nearest(command, commands)} Help: {PROGRAM} --help.")
    dashed = next((word for word in others if word.startswith("-") and not _may_begin_with_a_dash(word)), None)
    if dashed is not None:
        raise ValueError(
            f"{command} needs two dashes before an option's name; got {dashed!r}. Write --{dashed.lstrip('-')}, or "
            f"--OPTION={dashed} if it is a value."
        )
    flags: dict[str, Field[Any]] = {}
    for field in all_fields(commands[command]):
        name = field.name.replace("_", "-")
        flags |= {name: field, f"no-{name}": field} if field.type is bool else {name: field}
    required = [field for field in flags.values() if field.default is MISSING]
    rest: list[str] = []
    for flag, values in _by_flag(others):
        if flag is None:
            rest += values
        elif flag not in flags:
            match = difflib.get_close_matches(flag, flags, n=1, cutoff=0.5)
            nearest_flag = f" Nearest: --{match[0]}." if match else ""
            raise ValueError(f"{command} has no option --{flag}.{nearest_flag} All: {PROGRAM} {command} --help.")
        else:
            taken = _taken(flag, flags[flag], values)
            if values[taken:] and not required:
                raise ValueError(_too_much(flag, flags[flag], values))
            rest += values[taken:]
    if len(rest) > len(required):
        raise ValueError(
            f"{command} needs an option's name before each value; got {rest[len(required)]!r}. "
            f"All: {PROGRAM} {command} --help."
        )
    for field in required[len(rest) :]:
        raise ValueError(
            f"{command} needs {field.name}; got none. Write {PROGRAM} {command} {field.name.upper()}. "
            f"Help: {PROGRAM} {command} --help."
        )


def all_fields(kind: Any) -> Iterator[Field[Any]]:
    """The fields of settings, and of the groups in them."""
    for field in fields(kind):
        if is_group(field.type):
            yield from all_fields(field.type)
        else:
            yield field


def is_group(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def value_of(field: Field[Any], texts: Sequence[str]) -> Any:
    """What is typed behind a flag as a value of its setting.

    Raises:
        ValueError: it is of another type.
    """
    if takes_many(field) and list(texts) != ["None"]:
        kind = get_args(kinds_of(field.type)[0])[0]
        return tuple(from_text(field.name, text, kind) for text in texts)
    return from_text(field.name, texts[0], field.type)


def takes_many(field: Field[Any]) -> bool:
    """Whether the setting is a list."""
    return get_origin(kinds_of(field.type)[0]) is tuple


def _may_begin_with_a_dash(word: str) -> bool:
    """An option, the help, or a number below 0."""
    return word.startswith("--") or word in ("-", "-h") or _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _by_flag(words: Sequence[str]) -> list[tuple[str | None, list[str]]]:
    """(flag, the words behind it); first those before any flag."""
    found: list[tuple[str | None, list[str]]] = [(None, [])]
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.removeprefix("--").partition("=")
            found.append((flag.replace("_", "-"), [value] if equals else []))
        else:
            found[-1][1].append(word)
    return found


def _taken(flag: str, field: Field[Any], values: Sequence[str]) -> int:
    """How many of the values behind a flag belong to it."""
    if field.type is bool:
        return 0
    many = takes_many(field)
    instead = f"Write --{flag} {example(field)}, for example."
    if not values and not many:
        raise ValueError(f"{field.name} needs a value; got none. {instead}")
    taken = len(values) if many else 1
    try:
        value_of(field, values[:taken])
    except ValueError as error:
        raise ValueError(f"{error} {instead}") from None
    return taken


def _too_much(flag: str, field: Field[Any], values: Sequence[str]) -> str:
    came = " ".join(values)
    if field.type is bool:
        return f"{field.name} needs no value; got {came}. Write --{flag} alone, or leave it out."
    return f"{field.name} needs one value; got {came}. Write --{flag} {values[0]}."
