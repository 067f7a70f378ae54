"""Confusion matrices beside each other, and rows of pictures. Lengths are in points, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchmoments_lab.report.drawing import (
    BOLD_LETTER,
    INK,
    LETTER,
    MUTED,
    TEXT_LINE,
    WIDTH,
    axes_at,
    canvas,
)
from torchmoments_lab.report.figures import MAP
from torchmoments_lab.report.images import SHOWN
from torchmoments_lab.report.wording import folded

# Sides of a cell, the least width of a panel, which its name has to fit in, and the room between panels.
_SMALL, _LARGE, _PANEL, _GAP = 15.0, 26.0, 100.0, 14.0
_NAME = 20
# Cells overlap a little: a dark page shows through between them otherwise.
_SEAMLESS: dict[str, Any] = {"edgecolors": "face", "linewidth": 0.3}


def confusions(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """A panel a method: percentages [classes, classes] as numbers on colours, what is right blue, what is wrong orange.
    The names of the classes stand once, on the left and below."""
    names = [_shortened(name) for name in classes]
    room = max(map(len, names)) * LETTER + 6
    least = max(_SMALL * len(names), _PANEL)
    beside = min(len(matrices), max(1, int((WIDTH - room + _GAP) // (least + _GAP))))
    side = min(_LARGE * len(names), (WIDTH - room + _GAP) / beside - _GAP)
    width = max(side, _PANEL)
    turned = max(map(len, names)) * LETTER > 0.95 * side / len(names)
    headings = [folded(method, int(width / BOLD_LETTER)) for method in matrices]
    # The rows from the last one up.
    starts = range(0, len(headings), beside)[::-1]
    heads = [TEXT_LINE * max(map(len, headings[start : start + beside])) + 8 for start in starts]
    bottom, panels = (room if turned else TEXT_LINE) + 4, list(matrices.values())
    figure, ticks = canvas(WIDTH, bottom + sum(heads) + (side + _GAP) * len(heads) - _GAP), np.arange(len(names)) + 0.5
    for start, head in zip(starts, heads, strict=True):
        for number in range(start, min(start + beside, len(panels))):
            left = room + (number - start) * (width + _GAP)
            _words(figure, left, bottom + side + 4, headings[number], va="bottom", weight="bold", color=INK)
            axes = axes_at(figure, left, bottom, side, side)
            _cells(axes, panels[number], min(7.5, 0.42 * side / len(names)))
            axes.set(xticks=[], yticks=[])
            if number == start:
                axes.set_yticks(ticks, names)
            if number + beside >= len(panels):
                axes.set_xticks(ticks, names, rotation=90 if turned else 0)
        bottom += side + head + _GAP
    return figure


def _shortened(name: str) -> str:
    """Names of classes often differ at their end."""
    return name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}…{name[-_NAME // 2 :]}"


def _cells(axes: Axes, shares: np.ndarray, size: float) -> None:
    right = np.eye(len(shares), dtype=bool)
    axes.pcolormesh(np.where(right, shares, -shares), cmap=MAP.reversed(), vmin=-100, vmax=100, **_SEAMLESS)
    axes.invert_yaxis()
    for y, x in np.ndindex(shares.shape):
        share = shares[y, x]
        words = f"{share:.0f}"
        # What rounds to 0 is left out, except for what is right.
        if np.isfinite(share) and (words != "0" or x == y):
            color = "white" if share > 72 else "black"
            axes.text(x + 0.5, y + 0.52, words, ha="center", va="center", color=color, fontsize=size)


def picture_rows(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> Figure:
    """Rows of at most 8 small pictures, uint8 [H, W, 3], each with its words above."""
    gap = 4.0
    side = (WIDTH + gap) / SHOWN - gap
    headings = [folded(words, int(WIDTH / BOLD_LETTER)) for words, _ in rows]
    heights = [TEXT_LINE * len(heading) + side + 12 for heading in headings]
    figure, top = canvas(WIDTH, sum(heights)), sum(heights)
    # One for all pictures, in points: axes of its own for each would take most of the time of a report.
    axes = axes_at(figure, 0, 0, WIDTH, top)
    axes.set(xticks=[], yticks=[], xlim=(0, WIDTH), ylim=(0, top))
    for heading, (_, pictures), height in zip(headings, rows, heights, strict=True):
        _words(figure, 0, top - 2, heading, va="top", color=MUTED)
        for place, picture in enumerate(pictures):
            extent = _inside(place * (side + gap), top - height + 6, side, picture)
            axes.imshow(picture, interpolation="none", aspect="auto", extent=extent)
        top -= height
    return figure


def _inside(left: float, bottom: float, side: float, picture: np.ndarray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a picture in the middle of a square, its shape kept."""
    height, width = (side * size / max(picture.shape[:2]) for size in picture.shape[:2])
    left, bottom = left + (side - width) / 2, bottom + (side - height) / 2
    return left, left + width, bottom, bottom + height


def _words(figure: Figure, left: float, at: float, lines: Sequence[str], **style: Any) -> None:
    width, height = 72 * figure.get_size_inches()
    figure.text(left / width, at / height, "\n".join(lines), linespacing=1.15, **style)
