"""Bars: a mean with its interval in each row, words on its left, and the number on its right. Lengths are in points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from torchmoments_lab.report.drawing import ACCENT, INK, LETTER, LINE, MUTED, TEXT_LINE, WIDTH, axes_at, canvas
from torchmoments_lab.report.wording import folded, shares, signed
from torchmoments_lab.statistics.values import Estimate

_ROW, _HEAD, _FOOT = 15.0, 24.0, 36.0


@dataclass(frozen=True)
class Bar:
    """A row: words in columns on its left, a mean with its interval, the number on its right."""

    words: Sequence[str]
    estimate: Estimate
    color: str = ACCENT


@dataclass(frozen=True)
class Bars:
    """Rows that share an axis, with headings over their words. Differences are signed, and have a line at 0."""

    rows: Sequence[Bar]
    label: str
    headings: Sequence[str] = ()
    log: bool = False
    signed: bool = True


def bars(parts: Sequence[Bars]) -> Figure:
    """Parts one below the other, each with an axis of its own."""
    room = min(0.5 * WIDTH, max(LETTER * sum(letters + 2 for letters in _longest(part)) for part in parts))
    across = WIDTH - room - 50
    labels = [folded(part.label, int((across + 40) / LETTER)) for part in parts]
    words = [[_columns(row.words, part, room) for row in part.rows] for part in parts]
    heights = [[_ROW + TEXT_LINE * (max(map(len, row)) - 1) for row in rows] for rows in words]
    heads = [_HEAD if part.headings else _HEAD - TEXT_LINE for part in parts]
    feet = [_FOOT + TEXT_LINE * (len(label) - 1) for label in labels]
    top = sum(heads) + sum(map(sum, heights)) + sum(feet)
    figure = canvas(WIDTH, top)
    for number, part in enumerate(parts):
        height = sum(heights[number])
        axes = axes_at(figure, room + 4, top - heads[number] - height, across, height)
        top -= heads[number] + height + feet[number]
        axes.set(ylim=(height, 0), yticks=[], xscale="log" if part.log else "linear")
        axes.grid(axis="x", color=LINE, linewidth=0.7)
        axes.set_xlabel("\n".join(labels[number]), color=MUTED)
        if part.signed:
            axes.axvline(0, color=MUTED, linewidth=1)
        _write(axes, -_ROW / 2, [[heading] for heading in part.headings], part, room, MUTED)
        y = 0.0
        for row, lines, high in zip(part.rows, words[number], heights[number], strict=True):
            _row(axes, y + high / 2, row, "+" if part.signed else "")
            _write(axes, y + high / 2, lines, part, room, INK)
            y += high
        if part.log:
            ticks = _log_ticks(*axes.get_xlim())
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
    return figure


def _row(axes: Axes, y: float, row: Bar, sign: str) -> None:
    """A mean, its interval, and the number on the right."""
    if row.estimate.mean is None:
        return
    if row.estimate.ci95 is not None:
        axes.plot(row.estimate.ci95, [y] * 2, color=row.color, linewidth=2, solid_capstyle="butt")
    axes.plot([row.estimate.mean], [y], "o", color=row.color, markersize=5)
    edge: dict[str, Any] = {
        "xycoords": axes.get_yaxis_transform(),
        "textcoords": "offset points",
        "va": "center_baseline",
    }
    axes.annotate(signed(row.estimate.mean, sign), (1, y), (6, 0), color=row.color, **edge)


def _longest(part: Bars) -> list[int]:
    """The letters of the longest word of each column; a row with fewer words than others stands across them."""
    count = max(len(words) for words in (part.headings, *(row.words for row in part.rows)))
    rows = [words for words in (part.headings, *(row.words for row in part.rows)) if len(words) == count]
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _widths(part: Bars, room: float) -> list[int]:
    """Letters of each column of words, with the gap behind it."""
    wanted = {number: letters + 2 for number, letters in enumerate(_longest(part))}
    given = shares(wanted, int(room / LETTER))
    return [given[number] for number in wanted]


def _columns(words: Sequence[str], part: Bars, room: float) -> list[list[str]]:
    """Words of a row in lines."""
    widths = _widths(part, room)
    widths = widths if len(words) == len(widths) else [sum(widths)]
    return [folded(word, letters - 2) for word, letters in zip(words, widths, strict=True)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Three or more numbers on a logarithmic axis: 10, 20, 50, or evenly spaced ones if the axis is short."""
    decades = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
    found = [tick for tick in decades if low <= tick <= high]
    return found if len(found) > 2 else [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def _write(axes: Axes, y: float, words: Sequence[Sequence[str]], part: Bars, room: float, color: str) -> None:
    """Words to the left of a row, each in its column."""
    starts = [sum(_widths(part, room)[:number]) * LETTER - room for number in range(len(words))]
    style: dict[str, Any] = {"va": "center_baseline", "annotation_clip": False, "color": color, "linespacing": 1.15}
    for start, lines in zip(starts, words, strict=True):
        axes.annotate("\n".join(lines), (start, y), xycoords=("axes points", "data"), **style)
