"""Which settings of two records differ, in words that stay few whatever the values are."""

from collections.abc import Mapping
from typing import Any

# Settings that are said with their values; the others by their names. And characters of a value.
_MOST, _LONG = 8, 60
_AROUND = 20
_NOT_RECORDED, _NOT_SET = "not recorded", "not set"


def differing(held: Mapping[str, Any], came: Mapping[str, Any]) -> str:
    """lr 0.1 (got 0.2); head_lr not recorded (got 0.1); "" if nothing differs. One that is missing is like None."""
    names = [name for name in {**held, **came} if held.get(name) != came.get(name)]
    pairs = [_pair(name, held.get(name, _NOT_RECORDED), came.get(name, _NOT_SET)) for name in names[:_MOST]]
    if names[_MOST:]:
        pairs.append(f"{len(names[_MOST:])} others: {', '.join(names[_MOST:])}")
    return "; ".join(pairs)


def _pair(name: str, held: Any, came: Any) -> str:
    """Of long values, where they begin to differ."""
    if max(len(str(held)), len(str(came))) > _LONG:
        if isinstance(held, list) and isinstance(came, list):
            at = _first_difference(held, came)
            if at < min(len(held), len(came)):
                return _pair(f"{name}[{at}]", held[at], came[at])
            held, came = (f"of {len(of)} values" for of in (held, came))
        else:
            held, came = _window(str(held), str(came)), _window(str(came), str(held))
    return f"{name} {held} (got {came})"


def _window(text: str, other: str) -> str:
    start = max(0, _first_difference(text, other) - _AROUND)
    end = start + _LONG
    return "..." * (start > 0) + text[start:end] + "..." * (end < len(text))


def _first_difference(one: Any, other: Any) -> int:
    """The first index at which two sequences differ; the length of the shorter one if it begins the other."""
    both = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))
