"""The learning curves: each method beside the reference. Lengths are in points."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from torchmoments.lab.figures import ACCENT, BOLD_LETTER, EDGE, INK, LINE, MUTED, SIZE, TEXT_LINE, WIDE, wrapped
from torchmoments.lab.statistics import pointwise


@dataclass(frozen=True)
class Curves:
    """One method's {column of metrics.csv: [seeds, epochs]}."""

    word: str
    columns: dict[str, np.ndarray]


def curves(methods: list[Curves], reference: Curves, titles: dict[str, str], width: float) -> Figure:
    """For each method a pair of panels, it and the reference: the mean over seeds by epoch, with a pointwise 95% band.

    Args:
        methods: the others; where there are none, the reference is drawn alone.
        reference: drawn in grey in every panel.
        titles: {column: title of its panels}, in their order.
        width: in points.
    """
    pairs: list[Curves | None] = [*methods] or [None]
    columns = [name for name in titles if name in reference.columns]
    beside = 2 if len(pairs) > 3 and width == WIDE else 1
    left, gap, panel = 26.0, 8.0, (62.0 if width < WIDE or beside > 1 else 96.0)
    cell = (width - 2 * EDGE) / (beside * len(columns))
    letters = int(cell * len(columns) / BOLD_LETTER) - 1
    names = [wrapped((pair or reference).word, letters) for pair in pairs]
    lines = max(len(name) for name in names)
    height_of_row = TEXT_LINE * (lines + 1) + panel + 26
    rows = -(-len(pairs) // beside)
    height = rows * height_of_row + 16
    figure = Figure(figsize=(width / 72, height / 72))
    drawn = {name: [c.columns[name] for c in [reference, *methods] if name in c.columns] for name in columns}
    logarithmic = [name for name in columns if name == "loss" and _spans_magnitudes(drawn[name])]
    limits = {name: _limits(drawn[name], name in logarithmic) for name in columns}
    for number, (pair, name) in enumerate(zip(pairs, names, strict=True)):
        row, place = divmod(number, beside)
        x = EDGE + place * cell * len(columns)
        y = height - row * height_of_row
        figure.text(x / width, (y - 9) / height, "\n".join(name), color=INK, va="top", weight="bold")
        for k, column in enumerate(columns):
            bottom = y - TEXT_LINE * (lines + 1) - panel - 10
            box = ((x + k * cell + left) / width, bottom / height, (cell - left - gap) / width, panel / height)
            axes = figure.add_axes(box)
            axes.set_title(titles[column], color=MUTED, fontsize=SIZE - 1, loc="left", pad=4)
            _panel(axes, reference.columns[column], None if pair is None else pair.columns.get(column))
            if column in logarithmic:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(numticks=4))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_locator(NullLocator())
            axes.set_ylim(*limits[column])
    figure.text(0.5, 4 / height, "epoch", color=MUTED, ha="center", va="bottom", fontsize=SIZE - 1)
    return figure


def _panel(axes: Axes, reference: np.ndarray, method: np.ndarray | None) -> None:
    for values, color in ((reference, MUTED), (method, ACCENT)):
        if values is None or not len(values):
            continue
        epochs = np.arange(1, values.shape[1] + 1)
        mean, half = pointwise(values)
        marker = "o" if len(epochs) == 1 else None
        axes.plot(epochs, mean, color=color, linewidth=1.4, marker=marker, markersize=3)
        if half is not None:
            axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.22, linewidth=0)
    axes.set_facecolor("none")
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=SIZE - 1, pad=2)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def _limits(columns: list[np.ndarray], log: bool) -> tuple[float, float]:
    """Limits that all panels of a column share: what the means need. Not log: without the fall of the first epochs."""
    means = [column.mean(axis=0) for column in columns]
    late = np.concatenate([mean[0 if log else len(mean) // 20 :] for mean in means])
    low, high = float(late.min()), float(late.max())
    if log:
        return low / 1.5, high * 1.3
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin


def _spans_magnitudes(columns: list[np.ndarray]) -> bool:
    means = np.concatenate([column.mean(axis=0) for column in columns])
    return bool(0 < 20 * means.min() < means.max())
