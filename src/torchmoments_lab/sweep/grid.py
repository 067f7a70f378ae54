"""The grid as words of the command line, and its cells.

An axis is NAME=VALUE/VALUE/... An option of the method becomes part of the method's word; a training setting becomes
part of the settings, and the cells that share their settings are one comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, get_args

from torchmoments_lab.config import Setting, TrainConfig
from torchmoments_lab.methods import Method, parse_method

# Settings that say where things are and what is judged: nothing to compare.
_NO_AXIS = ("data_dir", "weights", "device", "loader_workers", "evaluate", "metric")

Values = dict[str, str]


@dataclass(frozen=True)
class Axis:
    """A name and its values as typed. `kind`: "option" of the method, training "setting", or the "method" itself."""

    name: str
    values: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Cell:
    """One combination: {axis: value}, those of them that are training settings, and the method's word."""

    values: Values
    settings: Values
    word: str


def parse_grid(texts: Sequence[str]) -> list[Axis]:
    """The axes that the words mean.

    Raises:
        ValueError: no NAME=VALUE/VALUE, a value or a name twice.
    """
    axes: list[Axis] = []
    for text in texts:
        name, equals, listed = text.partition("=")
        name = name.replace("-", "_")
        values = tuple(listed.split("/"))
        if not (name and equals and all(values)):
            raise ValueError(f"grid needs axes NAME=VALUE/VALUE; got {text!r}. Write --grid lam=0.5/0.7/0.9.")
        if len(set(values)) < len(values):
            raise ValueError(f"grid needs each value of an axis once; got {text!r}. Leave the second one out.")
        if name in [axis.name for axis in axes]:
            raise ValueError(f"grid needs each axis once; got {name!r} twice. Write all its values after one {name}=.")
        axes.append(Axis(name, values, _kind(name)))
    return axes


def cells(axes: Sequence[Axis], method: str) -> list[Cell]:
    """All combinations, the last axis fastest.

    Raises:
        ValueError: an option that the method lacks, or that its word sets already.
    """
    found = []
    for combination in product(*(axis.values for axis in axes)):
        values = {axis.name: value for axis, value in zip(axes, combination, strict=True)}
        of_kind = {
            kind: {axis.name: values[axis.name] for axis in axes if axis.kind == kind}
            for kind in ("option", "setting", "method")
        }
        word = _with_options(of_kind["method"].get("method", method), of_kind["option"])
        parse_method(word)
        found.append(Cell(values, of_kind["setting"], word))
    return found


def with_settings(config: TrainConfig, settings: Values) -> TrainConfig:
    """The training settings with some of them replaced by values as typed.

    Raises:
        ValueError: a value that the setting cannot have.
    """
    kinds = {field.name: field.type for field in fields(TrainConfig)}
    changed: dict[str, Any] = {name: _read(name, text, kinds[name]) for name, text in settings.items()}
    plain = TrainConfig(**{name: getattr(config, name) for name in kinds})
    changed_config = replace(plain, **changed)
    changed_config.check()
    return changed_config


def distinct(words: Sequence[str]) -> dict[str, str]:
    """{word: the first of the words that means the same training}."""
    found: list[tuple[Method, str]] = []
    first: dict[str, str] = {}
    for word in words:
        method = parse_method(word)
        first[word] = next((earlier for known, earlier in found if known == method), word)
        if first[word] == word:
            found.append((method, word))
    return first


def _kind(name: str) -> str:
    if name == "method":
        return "method"
    settings = [field.name for field in fields(TrainConfig) if field.name not in _NO_AXIS]
    return "setting" if name in settings else "option"


def _with_options(word: str, options: Values) -> str:
    added = [f"{name}={value.replace('+', '/')}" for name, value in options.items()]
    if not added:
        return word
    return word + ("," if ":" in word.rpartition("+")[2] else ":") + ",".join(added)


def _read(name: str, text: str, kind: Any) -> Setting:
    kinds = get_args(kind) or (kind,)
    if type(None) in kinds and text == "None":
        return None
    if bool in kinds and text in ("True", "False"):
        return text == "True"
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                continue
    if str in kinds or text in kinds:
        return text
    what = "True or False" if bool in kinds else "a number" if {int, float} & set(kinds) else f"one of {kinds}"
    raise ValueError(f"grid: {name} needs {what}; got {text!r}.")
