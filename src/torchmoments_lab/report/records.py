"""summary.json: a summary as JSON and back, the only place that knows the names in it.

A dataclass becomes an object, field by field. What a difference has of an estimate is called difference_mean and
difference_ci95, and so on.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from torchmoments_lab.files import write_json
from torchmoments_lab.report.summary import AnySummary, ProbeSummary, Summary, SweepSummary
from torchmoments_lab.statistics.values import Difference

VERSION = 2
_KINDS = {"compare": Summary, "sweep": SweepSummary, "probe": ProbeSummary}
_OF_DIFFERENCE = ("mean", "ci95", "ci95_adjusted", "ci95_these_images")


def write_summary(path: Path, summary: AnySummary) -> None:
    (command,) = (command for command, kind in _KINDS.items() if kind is type(summary))
    write_json(path, {"version": VERSION, "command": command, **_json(summary)})


def read_summary(path: Path) -> AnySummary:
    """Read what `write_summary` wrote.

    Raises:
        ValueError: there is no such file, it is damaged, or another version wrote it.
    """
    try:
        record = json.loads(path.read_bytes())
        if record["version"] == VERSION:
            found: AnySummary = _value(_KINDS[record["command"]], record)
            return found
        why = f"version {record['version']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise ValueError(
        f"'{path}' needs to be a summary of version {VERSION}; got {why}. Rerun the command that made it: complete "
        "runs are kept."
    )


def _named(kind: Any) -> dict[str, tuple[str, Any]]:
    """{field of a dataclass: its name in the JSON, and its type}."""
    of_difference = _OF_DIFFERENCE if kind is Difference else ()
    return {
        field: (f"difference_{field}" if field in of_difference else field, declared)
        for field, declared in get_type_hints(kind).items()
    }


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _json(item) for name, item in value.items()}
    if is_dataclass(value):
        return {name: _json(getattr(value, field)) for field, (name, _) in _named(type(value)).items()}
    return value


def _value(kind: Any, value: Any) -> Any:
    """What JSON gives, as it was declared."""
    if get_origin(kind) is UnionType:
        kinds = [of for of in get_args(kind) if of is not NoneType]
        return value if value is None or len(kinds) > 1 else _value(kinds[0], value)
    origin, of = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(_value(of[0], item) for item in value)
    if origin is Mapping:
        return {name: _value(of[1], item) for name, item in value.items()}
    if is_dataclass(kind):
        named, optional = _named(kind), {field.name for field in fields(kind) if field.default is not MISSING}
        # What an earlier version did not know of has its default.
        given = {field: at for field, at in named.items() if at[0] in value or field not in optional}
        return kind(**{field: _value(declared, value[name]) for field, (name, declared) in given.items()})  # type: ignore[operator]
    return value
