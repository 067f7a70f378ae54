"""The grid as typed, and its cells.

An axis is NAME=VALUE/VALUE/... An option of the method becomes part of the method's spec; a training setting becomes
part of the settings, and the cells that share their settings are one comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, get_args, get_origin

from torchmoments_lab.flags import all_fields
from torchmoments_lab.methods import Method, parse_method
from torchmoments_lab.requests import Sweep
from torchmoments_lab.settings import ELSEWHERE, DataSettings, ModelSettings, Preprocessing, TrainingSettings
from torchmoments_lab.spec import parse
from torchmoments_lab.typed import from_text

# The types of the settings that may be an axis; where files and devices are is nothing to compare.
_AXES: dict[str, Any] = {
    field.name: field.type
    for group in (DataSettings, ModelSettings, Preprocessing, TrainingSettings)
    for field in fields(group)
    if field.name not in ELSEWHERE
}
# The other settings of a sweep.
_SAME = {field.name for field in all_fields(Sweep)} - {*_AXES, "method"}

Values = dict[str, str]


@dataclass(frozen=True)
class Axis:
    """A name and its values as typed. `kind`: "option" of the method, training "setting", or the "method" itself."""

    name: str
    values: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Cell:
    """One combination: {axis: value}, those of them that are training settings, and the method's spec."""

    values: Values
    settings: Values
    spec: str


def parse_grid(texts: Sequence[str]) -> list[Axis]:
    """The axes that the texts mean.

    Raises:
        ValueError: no NAME=VALUE/VALUE, a value or a name twice, or a setting that all trainings share.
    """
    axes: list[Axis] = []
    for text in texts:
        name, equals, listed = text.partition("=")
        name = name.replace("-", "_")
        values = tuple(listed.split("/"))
        if not (name and equals and all(values)):
            raise ValueError(f"grid needs axes NAME=VALUE/VALUE; got {text!r}. Write --grid lam=0.5/0.7/0.9.")
        if name != "method" and "," in listed:
            raise ValueError(
                f"grid needs a / between the values of an axis; got {text!r}. Write --grid {text.replace(',', '/')}."
            )
        if len(set(values)) < len(values):
            raise ValueError(f"grid needs each value of an axis once; got {text!r}. Leave the second one out.")
        if name in [axis.name for axis in axes]:
            raise ValueError(f"grid needs each axis once; got {name!r} twice. Write all its values after one {name}=.")
        if name in _SAME:
            raise ValueError(
                f"grid needs options of the method or the training; got {text!r}, which all trainings share. "
                f"Write --{name.replace('_', '-')} {values[0]} beside --grid."
            )
        axes.append(Axis(name, values, _kind(name)))
    return axes


def cells(axes: Sequence[Axis], method: str) -> list[Cell]:
    """All combinations, the last axis fastest.

    Raises:
        ValueError: an option that the method lacks, or that its spec sets already.
    """
    found = []
    for combination in product(*(axis.values for axis in axes)):
        values = {axis.name: value for axis, value in zip(axes, combination, strict=True)}
        of_kind = {
            kind: {axis.name: values[axis.name] for axis in axes if axis.kind == kind}
            for kind in ("option", "setting", "method")
        }
        spec = _with_options(of_kind["method"].get("method", method), of_kind["option"])
        parse_method(spec)
        found.append(Cell(values, of_kind["setting"], spec))
    return found


def with_settings(request: Sweep, settings: Values) -> Sweep:
    """The request with some settings replaced by values as typed.

    Raises:
        ValueError: a value that the setting cannot have.
    """
    changed = request.with_values(**{name: _read(name, text, _AXES[name]) for name, text in settings.items()})
    changed.check()
    return changed


def distinct(specs: Sequence[str]) -> dict[str, str]:
    """{spec: the first of the specs that means the same training}."""
    found: list[tuple[Method, str]] = []
    first: dict[str, str] = {}
    for spec in specs:
        method = parse_method(spec)
        first[spec] = next((earlier for known, earlier in found if known == method), spec)
        if first[spec] == spec:
            found.append((method, spec))
    return first


def _kind(name: str) -> str:
    if name == "method":
        return "method"
    return "setting" if name in _AXES else "option"


def _with_options(spec: str, options: Values) -> str:
    added = [f"{name}={value}" for name, value in options.items()]
    if not added:
        return spec
    return spec + ("," if parse(spec)[-1].options else ":") + ",".join(added)


def _read(name: str, text: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_read(name, part, get_args(kind)[0]) for part in text.split("+"))
    return from_text(f"grid: {name}", text, kind)
