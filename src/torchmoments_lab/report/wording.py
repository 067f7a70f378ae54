"""Numbers as a report writes them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from torchmoments_lab.settings import FOLDERS
from torchmoments_lab.statistics.values import Difference, Estimate, Interval
from torchmoments_lab.typed import counted

NONE = "\N{EN DASH}"
# With more methods than this, a sentence gives their number.
FEW = 3
MINUS = "\N{MINUS SIGN}"
# Letters that every line has room for.
_LONG = 16
# Where a line may end: at a space, between methods or options; if a word is too long, inside an option or a name, but
# not inside a number.
_BETWEEN, _INSIDE = r"(?<=[ ,:+])(?=.)", r"(?<=[=/._-])(?=[^\d])"


def typeset(words: str) -> str:
    """A sentence with a minus sign for the hyphen of a number, and no line break inside `p = 0.01`."""
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=[ (])-(?=\d)", MINUS, words))


def pieces(words: str) -> list[str]:
    """Words in pieces that may stand on lines of their own, if they have to."""
    return [piece for whole in re.split(_BETWEEN, words) for piece in _fitting(whole, _LONG, (_INSIDE,))]


def longest(words: str) -> int:
    """The letters of the longest piece that is better not broken."""
    return max(len(piece.rstrip()) for piece in re.split(_BETWEEN, words))


def folded(words: str, letters: int) -> list[str]:
    """Words in lines of at most so many letters, broken where a method spec may be."""
    lines = [""]
    for piece in _fitting(words, max(1, letters), (_BETWEEN, _INSIDE)):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > letters:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def shares(wanted: Mapping[int, int], free: int) -> dict[int, int]:
    """What each gets of the free letters: as many as it wants, but no more than its part of what others leave."""
    shares = {}
    for left, k in zip(range(len(wanted), 0, -1), sorted(wanted, key=lambda k: wanted[k]), strict=True):
        shares[k] = min(wanted[k], max(0, free) // left)
        free -= shares[k]
    return shares


def _fitting(words: str, letters: int, breaks: Sequence[str]) -> Iterator[str]:
    if len(words.rstrip()) <= letters:
        yield words
    elif breaks:
        for piece in re.split(breaks[0], words):
            yield from _fitting(piece, letters, breaks[1:])
    else:
        yield from (words[start : start + letters] for start in range(0, len(words), letters))


def p_value(p: float | None) -> str:
    if p is None:
        return NONE
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def with_interval(estimate: Estimate, sign: str = "") -> str:
    """4.80 (4.44 to 5.16); `sign` is "+" for a difference."""
    if estimate.mean is None:
        return NONE
    return signed(estimate.mean, sign) + ("" if estimate.ci95 is None else f" ({interval(estimate.ci95, sign)})")


def plus_minus(estimate: Estimate, sign: str = "") -> str:
    """4.80 ± 0.36, if there is little room; with both ends where one of them is cut off at what can be."""
    if estimate.mean is None or estimate.ci95 is None:
        return with_interval(estimate, sign)
    below, above = estimate.mean - estimate.ci95[0], estimate.ci95[1] - estimate.mean
    if f"{below:.2f}" != f"{above:.2f}":
        return with_interval(estimate, sign)
    return f"{signed(estimate.mean, sign)} ± {below:.2f}"


def compared(difference: Difference | None) -> list[str]:
    """The difference with its adjusted interval, and the adjusted p, for two columns of a table; empty if there is
    nothing to compare with."""
    return ["", ""] if difference is None else [plus_minus(adjusted(difference), "+"), p_value(difference.p_adjusted)]


def adjusted(difference: Difference) -> Estimate:
    """The difference with the interval that goes with its verdict."""
    return Estimate(difference.mean, difference.ci95_adjusted, difference.n)


def interval(ci95: Interval | None, sign: str = "") -> str:
    return NONE if ci95 is None else f"{signed(ci95[0], sign)} to {signed(ci95[1], sign)}"


def signed(number: float, sign: str = "+") -> str:
    return f"{number:{sign}.2f}".replace("-", MINUS)


def ends(ci95: Interval) -> str:
    """The ends of an interval in a sentence, which `typeset` gives its minus signs."""
    return f"{ci95[0]:+.2f} to {ci95[1]:+.2f}"


def listed(methods: Sequence[str], last: str) -> str:
    """a, b and c; only their number if there are more."""
    if len(methods) > FEW:
        return f"{len(methods)} methods" if last == "and" else f"any of {len(methods)} methods"
    return f" {last} ".join(filter(None, [", ".join(methods[:-1]), methods[-1]]))


def seconds(number: float | None) -> str:
    """Three digits are enough, and hundredths are the limit of what was measured."""
    if number is None:
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def seeds(n: int) -> str:
    return counted(n, "seed")


def data_name(data: object) -> str:
    """The data in a title: of a folder its name, wherever it is."""
    text = str(data)
    folder = PurePath(text.partition(":")[2]).name
    return folder if folder and text.startswith(FOLDERS) else text


def spans(numbers: Sequence[int]) -> str:
    """1, 3-5, with en dashes."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}{NONE}{last}" for first, last in runs)
