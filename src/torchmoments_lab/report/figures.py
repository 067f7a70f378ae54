"""One drawing for each kind of numbers: seed dots, lines, a heat map. Others are in `bars` and in `curves`.

Lengths are in points, on a figure of `drawing.WIDTH`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from torchmoments_lab.report.drawing import (
    ACCENT,
    BOLD_LETTER,
    HARM,
    INK,
    LETTER,
    LINE,
    MUTED,
    TEXT_LINE,
    WIDTH,
    axes_at,
    canvas,
)
from torchmoments_lab.report.runs import Errors
from torchmoments_lab.report.wording import folded, signed, with_interval
from torchmoments_lab.statistics.values import Estimate

_DOT = 5.5
# Okabe and Ito's, for lines.
_COLORS = (ACCENT, HARM, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", MUTED)
# Of the page's colours none exactly: cells keep theirs on a dark page, as black and white numbers stand on them.
MAP = LinearSegmentedColormap.from_list("better_worse", ["#0071b1", "#9cc9e3", "#f7f7f7", "#f2b48c", "#d45d00"])


@dataclass(frozen=True)
class Dots:
    """One method seed by seed: its differences to the reference, and their mean."""

    name: str
    differences: Errors
    mean: Estimate


def seed_dots(rows: Sequence[Dots], label: str) -> Figure:
    """One row a method: a dot for each seed, below it the mean and its 95% interval."""
    values = [0.0, *(v for row in rows for v in [*row.differences.values(), *(row.mean.ci95 or ())])]
    margin = 0.04 * (float(np.ptp(values)) or 1.0)
    low, high = min(values) - margin, max(values) + margin
    letters = int((WIDTH - (max(len(with_interval(row.mean, "+")) for row in rows) + 2) * LETTER) / BOLD_LETTER)
    names = [folded(row.name, letters) for row in rows]
    stacks = [_stacked(row.differences, (high - low) * _DOT / WIDTH) for row in rows]
    steps = [min(_DOT + 0.5, 84 / max([1, *(level for _, level in stack)])) for stack in stacks]
    piles = [max([0, *(level for _, level in stack)]) * step + _DOT for stack, step in zip(stacks, steps, strict=True)]
    heights = [TEXT_LINE * len(name) + pile + 28 for name, pile in zip(names, piles, strict=True)]
    figure = canvas(WIDTH, 62 + sum(heights))
    axes = axes_at(figure, 1, 40, WIDTH - 2, 22 + sum(heights))
    axes.set(xlim=(low, high), ylim=(22 + sum(heights), 0), yticks=[])
    ticks = [tick for tick in MaxNLocator(6).tick_values(low, high) if low + margin / 2 <= tick <= high - margin / 2]
    axes.set_xticks(ticks)
    axes.set_xlabel(label, color=MUTED)
    for side, word, align, room in ((-4, "← better", "right", -low), (4, "worse →", "left", high)):
        # Next to the edge there may be no room; the other side says enough.
        if room > 0.12 * (high - low):
            axes.annotate(word, (0, 8), (side, 0), textcoords="offset points", ha=align, va="center", color=MUTED)
    top = 22.0
    for row, name, stack, step, height in zip(rows, names, stacks, steps, heights, strict=True):
        bottom = top + height - 10
        above, base = top + TEXT_LINE * len(name) + 1, bottom - 12
        axes.vlines(ticks, above, bottom, color=LINE, linewidth=0.7, zorder=1)
        axes.vlines([0], above, bottom, color=MUTED, linewidth=1, zorder=1)
        place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "top", "color": INK}
        axes.text(0, top, "\n".join(name), weight="bold", linespacing=1.15, **place)
        axes.text(1, top, with_interval(row.mean, "+") if stack else "no paired runs", ha="right", **place)
        x, y = [value for value, _ in stack], [base - _DOT / 2 - step * level for _, level in stack]
        axes.plot(x, y, "o", color=ACCENT, alpha=0.75, markersize=_DOT, markeredgewidth=0, zorder=2)
        if row.mean.ci95 is not None:
            axes.plot(row.mean.ci95, [base + 6] * 2, color=INK, linewidth=2, solid_capstyle="butt", zorder=3)
        if row.mean.mean is not None:
            axes.plot([row.mean.mean], [base + 6], "D", color=INK, markersize=5, markeredgewidth=0, zorder=4)
        top += height
    return figure


def _stacked(errors: Errors, diameter: float) -> list[tuple[float, int]]:
    """(value, level) for each seed: the lowest level on which its dot covers no other."""
    ends: list[float] = []
    placed = []
    for value in sorted(errors.values()):
        level = next((k for k, end in enumerate(ends) if value - end >= diameter), len(ends))
        ends[level : level + 1] = [value]
        placed.append((value, level))
    return placed


def lines(series: Mapping[str, Sequence[Estimate]], places: Sequence[str], across: str, label: str) -> Figure:
    """Lines over numbers, logarithmic if they span a factor of 4; vertical bars are the intervals."""
    figure = canvas(WIDTH, 320)
    axes = axes_at(figure, 48, 40, WIDTH - 56, 256)
    x = np.array([float(place) for place in places])
    is_log = x.min() > 0 and x.max() / x.min() >= 4
    if is_log:
        axes.set_xscale("log")
    axes.axhline(0, color=MUTED, linewidth=1)
    for number, (name, estimates) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        # Side by side, so that intervals at one place do not cover each other.
        shift = (number - (len(series) - 1) / 2) * 0.018
        at = x * (1 + shift) if is_log else x + shift * np.ptp(x)
        for place, estimate in zip(at, estimates, strict=True):
            if estimate.ci95 is not None:
                axes.plot([place] * 2, estimate.ci95, color=color, linewidth=2, solid_capstyle="butt")
        means = [np.nan if estimate.mean is None else estimate.mean for estimate in estimates]
        axes.plot(at, means, "o-", color=color, markersize=5, linewidth=1.3, label=name)
    axes.set_xticks(x, places)
    axes.minorticks_off()
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.set_xlabel(across, color=MUTED)
    axes.set_ylabel(label, color=MUTED)
    axes.set_title(
        "below 0 is better; vertical lines are 95% CIs, for all together", color=MUTED, fontsize=8, loc="left"
    )
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return figure


def heat_map(
    rows: Mapping[str, Sequence[Estimate]], columns: Sequence[str], down: str, across: str, title: str, best: int | None
) -> Figure:
    """Means as colours and as numbers, the intervals below them; cell number `best` is bold."""
    values = np.array([[np.nan if e.mean is None else e.mean for e in row] for row in rows.values()])
    reach = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0, 1e-6)
    names = [folded(name, 24) for name in rows]
    left = 24 + max(38.0, LETTER * max(len(line) for name in names for line in name))
    places = [folded(name, int((WIDTH - left - 8) / len(columns) / LETTER)) for name in columns]
    high = max(34.0, 8 + TEXT_LINE * max(map(len, names))) * len(rows)
    foot = 26 + TEXT_LINE * max(map(len, places))
    figure = canvas(WIDTH, high + foot + 28)
    axes = axes_at(figure, left, foot, WIDTH - left - 8, high)
    # Rectangles, not an image: sharp at every size.
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=MAP, norm=TwoSlopeNorm(0, -reach, reach))
    for number, estimate in enumerate(estimate for row in rows.values() for estimate in row):
        if estimate.mean is None:
            continue
        y, x = divmod(number, len(columns))
        color = "white" if abs(estimate.mean) > 0.72 * reach else "black"
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": color}
        axes.text(x + 0.5, y + 0.37, signed(estimate.mean), weight="bold" if number == best else "normal", **style)
        if estimate.ci95 is not None:
            half = (estimate.ci95[1] - estimate.ci95[0]) / 2
            axes.text(x + 0.5, y + 0.74, f"± {half:.2f}", fontsize=6.5, **style)
    axes.set_xticks(np.arange(len(columns)) + 0.5, ["\n".join(place) for place in places])
    axes.set_yticks(np.arange(len(rows)) + 0.5, ["\n".join(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel(across, color=MUTED)
    axes.set_ylabel(down, color=MUTED)
    axes.set_title(title, color=MUTED, fontsize=8, loc="left")
    return figure
