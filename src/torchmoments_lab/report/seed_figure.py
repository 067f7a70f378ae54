"""The paired differences, seed by seed. Lengths are in points."""

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from torchmoments_lab.report.figures import (
    ACCENT,
    BOLD_LETTER,
    EDGE,
    INK,
    LETTER,
    LINE,
    MUTED,
    TEXT_LINE,
    WIDE,
    wrapped,
)
from torchmoments_lab.report.wording import with_interval

_DOT = 5.5


@dataclass(frozen=True)
class Row:
    """One method seed by seed: its word, {seed: difference to the reference}, their mean and interval."""

    word: str
    differences: dict[int, float]
    mean: float | None
    ci95: tuple[float, float] | None


def differences(rows: list[Row], label: str, width: float) -> Figure:
    """One row a method: a dot for each seed, below it the mean and its 95% interval.

    Args:
        rows: in the order of the report.
        label: of the horizontal axis.
        width: in points.
    """
    values = [v for row in rows for v in [*row.differences.values(), *(row.ci95 or ())]]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    margin = 0.04 * ((high - low) or 1.0)
    low, high = low - margin, high + margin
    room = width - 2 * EDGE
    numbers = max(len(with_interval(row.mean, row.ci95, "+")) for row in rows)
    names = [wrapped(row.word, int((room - (numbers + 2) * LETTER) / BOLD_LETTER)) for row in rows]
    diameter = (high - low) * _DOT / room
    stacks = [_stacked(row.differences, diameter) for row in rows]
    heights = [TEXT_LINE * len(name) + _pile(stack) + 28 for name, stack in zip(names, stacks, strict=True)]
    figure, axes = _canvas(width, 22 + sum(heights), 40)
    axes.set_xlim(low, high)
    inside = margin / 2
    ticks = MaxNLocator(6 if width == WIDE else 4).tick_values(low, high)
    ticks = [tick for tick in ticks if low + inside <= tick <= high - inside]
    axes.set_xticks(ticks)
    axes.tick_params(axis="x", length=0, labelcolor=MUTED)
    _directions(axes, low, high)
    top = 22.0
    for row, name, stack, height in zip(rows, names, stacks, heights, strict=True):
        _row(axes, row, name, stack, top, top + height - 10, ticks)
        top += height
    axes.set_xlabel("\n".join(textwrap.wrap(label, int(room / LETTER))), color=MUTED)
    return figure


def _canvas(width: float, top: float, below: float) -> tuple[Figure, Axes]:
    """An empty figure whose axes are `top` points high, with y in points from their upper edge."""
    height = top + below
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((EDGE / width, below / height, 1 - 2 * EDGE / width, top / height))
    axes.set_ylim(top, 0)
    axes.set_yticks([])
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def _directions(axes: Axes, low: float, high: float) -> None:
    """Say above the rows which side of 0 is the better one."""
    for side, word, alignment, room in ((-4, "← better", "right", -low), (4, "worse →", "left", high)):
        # Next to the edge there may be no room; the other side says enough.
        if room > 0.12 * (high - low):
            axes.annotate(word, (0, 8), (side, 0), textcoords="offset points", ha=alignment, va="center", color=MUTED)


def _row(
    axes: Axes, row: Row, name: list[str], stack: list[tuple[float, int]], top: float, bottom: float, ticks: list[float]
) -> None:
    edge = axes.get_yaxis_transform()
    axes.text(0, top, "\n".join(name), transform=edge, va="top", color=INK, weight="bold", linespacing=1.15)
    base = bottom - 12
    above = top + TEXT_LINE * len(name) + 1
    axes.vlines(ticks, above, bottom, color=LINE, linewidth=0.7, zorder=1)
    axes.vlines([0], above, bottom, color=MUTED, linewidth=1, zorder=1)
    if row.mean is None:
        axes.text(1, top, "no paired runs", transform=edge, va="top", ha="right", color=MUTED)
        return
    step = _step(stack)
    axes.plot(
        [value for value, _ in stack],
        [base - _DOT / 2 - step * level for _, level in stack],
        "o", color=ACCENT, alpha=0.75, markersize=_DOT, markeredgewidth=0, zorder=2,
    )  # fmt: skip
    if row.ci95 is not None:
        axes.plot(row.ci95, [base + 6] * 2, color=INK, linewidth=2, solid_capstyle="butt", zorder=3)
    axes.plot([row.mean], [base + 6], "D", color=INK, markersize=5, markeredgewidth=0, zorder=4)
    axes.text(1, top, with_interval(row.mean, row.ci95, "+"), transform=edge, va="top", ha="right", color=INK)


def _stacked(of_seeds: dict[int, float], diameter: float) -> list[tuple[float, int]]:
    """(value, level) for each seed: the lowest level on which its dot covers no other."""
    ends: list[float] = []
    placed = []
    for value in sorted(of_seeds.values()):
        level = next((k for k, end in enumerate(ends) if value - end >= diameter), len(ends))
        ends[level : level + 1] = [value]
        placed.append((value, level))
    return placed


def _step(stack: list[tuple[float, int]]) -> float:
    """Points from one level to the next; many levels overlap rather than grow without end."""
    return min(_DOT + 0.5, 84 / max(1, *(level for _, level in stack), 1))


def _pile(stack: list[tuple[float, int]]) -> float:
    return _DOT + _step(stack) * max(level for _, level in stack) if stack else 0.0
