"""Means with their intervals, one below the other, words on their left and the number on their right."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchmoments_lab.report.figures import LINE, MUTED

# Points: a row, the space above the first one, and that below the last one for the axis.
ROW, HEAD, FOOT = 15.0, 24.0, 36.0


def words(axes: Axes, row: int, words: Sequence[str], room: float, color: str) -> None:
    """Words to the left of a row, in as many columns."""
    for number, word in enumerate(words):
        place = (number * room / len(words) - room, -row)
        axes.annotate(word, place, xycoords=("axes points", "data"), va="center", annotation_clip=False, color=color)


def interval(
    axes: Axes, row: int, mean: float | None, ci95: Sequence[float] | None, color: str, sign: str = "+"
) -> None:
    """A mean and its interval in a row, and the number beside it."""
    if mean is None:
        return
    if ci95 is not None:
        axes.plot(ci95, [-row] * 2, color=color, linewidth=2, solid_capstyle="butt")
    axes.plot([mean], [-row], "o", color=color, markersize=5)
    number = f"{mean:{sign}.2f}".replace("-", "\u2212")
    edge = axes.get_yaxis_transform()
    axes.annotate(number, (1, -row), (6, 0), xycoords=edge, textcoords="offset points", va="center", color=color)


def strip(figure: Figure, rows: int, top: float, room: float, zero: bool = True) -> Axes:
    """Axes with rows at y = 0, -1, ..., from `top` points downwards, and `room` points for words on their left."""
    width, height = 72 * figure.get_size_inches()
    box = ((room + 4) / width, (top - ROW * rows) / height, (width - room - 46) / width, ROW * rows / height)
    axes = figure.add_axes(box)
    axes.set_ylim(0.5 - rows, 0.5)
    if zero:
        axes.axvline(0, color=MUTED, linewidth=1)
    plain(axes)
    axes.set_yticks([])
    axes.grid(axis="x", color=LINE, linewidth=0.7)
    return axes


def plain(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
