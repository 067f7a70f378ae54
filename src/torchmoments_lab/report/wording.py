"""Numbers as a report writes them."""

import re
from typing import Any

NONE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def typeset(words: str) -> str:
    """A sentence with a minus sign for the hyphen of a number, and no line break inside `p = 0.01`."""
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=[ (])-(?=\d)", _MINUS, words))


def p_value(p: float | None) -> str:
    if p is None:
        return NONE
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def with_interval(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str:
    """4.80 (4.44 to 5.16); `sign` is "+" for a difference."""
    if mean is None:
        return NONE
    return _signed(mean, sign) + ("" if ci95 is None else f" ({interval(ci95, sign)})")


def plus_minus(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str:
    """4.80 ± 0.36, where there is little room."""
    if mean is None:
        return "-"
    return f"{mean:{sign}.2f}" + ("" if ci95 is None else f" ± {(ci95[1] - ci95[0]) / 2:.2f}")


def interval(ci95: tuple[float, float] | None, sign: str = "") -> str:
    return NONE if ci95 is None else f"{_signed(ci95[0], sign)} to {_signed(ci95[1], sign)}"


def seconds(number: float | None) -> str:
    """Three digits are enough, and hundredths are the limit of what was measured."""
    if number is None:
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def failed(run: dict[str, Any]) -> str:
    """What a run of a summary's "failed" is told as."""
    return f"{run['method']} seed {run['seed']} failed: {run['reason']}."


def spans(numbers: list[int]) -> str:
    """1, 3-5, with en dashes."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}{NONE}{last}" for first, last in runs)


def _signed(number: float, sign: str) -> str:
    return f"{number:{sign}.2f}".replace("-", _MINUS)
