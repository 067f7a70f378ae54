"""summary.json: a summary as JSON and back, the only place that knows the names in it.

A dataclass becomes an object, field by field. Estimates are flat in it: one in a field `error` becomes error_mean,
error_ci95 and n; a difference has p_value and p_holm besides. If there are two in an object, what the first has named
already gets the name of its field before it, as in share_n. An optional one that is None is absent.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from torchmoments_lab.files import write_json
from torchmoments_lab.report.summary import AnySummary, ProbeSummary, Summary, SweepSummary
from torchmoments_lab.statistics import Difference, Estimate

VERSION = 1
_KINDS = {"compare": Summary, "sweep": SweepSummary, "probe": ProbeSummary}


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


def _named(kind: Any) -> dict[str, tuple[Any, dict[str, str]]]:
    """{field of a dataclass: its type, and of an estimate {attribute: name in the JSON}}."""
    named: dict[str, tuple[Any, dict[str, str]]] = {}
    taken: set[str] = set()
    for field, declared in get_type_hints(kind).items():
        (of, *_) = [k for k in get_args(declared) if k is not NoneType] if _is_union(declared) else [declared]
        if of not in (Estimate, Difference):
            named[field] = declared, {}
            continue
        short = {"mean": f"{field}_mean", "ci95": f"{field}_ci95"}
        names = {part.name: short.get(part.name, part.name) for part in fields(of)}
        named[field] = of, {part: f"{field}_{name}" if name in taken else name for part, name in names.items()}
        taken |= set(names.values())
    return named


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _json(item) for name, item in value.items()}
    if not is_dataclass(value):
        return value
    made: dict[str, Any] = {}
    for field, (_, names) in _named(type(value)).items():
        item = getattr(value, field)
        if not names:
            made[field] = _json(item)
        elif item is not None:
            made |= {name: _json(getattr(item, part)) for part, name in names.items()}
    return made


def _value(kind: Any, value: Any) -> Any:
    """What JSON gives, as it was declared."""
    if _is_union(kind):
        kinds = [of for of in get_args(kind) if of is not NoneType]
        return value if value is None or len(kinds) > 1 else _value(kinds[0], value)
    origin, of = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(_value(of[0], item) for item in value)
    if origin is Mapping:
        return {name: _value(of[1], item) for name, item in value.items()}
    return _object(kind, value) if is_dataclass(kind) else value


def _object(kind: Any, record: dict[str, Any]) -> Any:
    made: dict[str, Any] = {}
    for field, (declared, names) in _named(kind).items():
        if not names:
            made[field] = _value(declared, record[field])
        elif names["mean"] in record:
            ci95 = record[names["ci95"]]
            parts = {part: record[name] for part, name in names.items()}
            made[field] = declared(**parts | {"ci95": ci95 and tuple(ci95)})
        else:
            made[field] = None
    return kind(**made)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) is UnionType
