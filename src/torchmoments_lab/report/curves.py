"""The learning curves: each method beside the reference. Lengths are in points."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from torchmoments_lab.report.drawing import (
    ACCENT,
    BOLD_LETTER,
    INK,
    LINE,
    MUTED,
    SIZE,
    TEXT_LINE,
    WIDTH,
    axes_at,
    canvas,
)
from torchmoments_lab.report.wording import folded
from torchmoments_lab.statistics.crossed import pointwise

# {column of metrics.csv: [seeds, epochs]}
Columns = Mapping[str, np.ndarray]


def curves(methods: Mapping[str, Columns], reference: str, titles: Mapping[str, str]) -> Figure:
    """For each method a panel a column, it and the reference in grey: the mean over seeds with a pointwise 95% band.

    Args:
        methods: with the reference; if it is the only one, it is drawn alone.
        titles: {column: title of its panels}, in their order.
    """
    shown = [name for name in methods if name != reference] or [reference]
    beside = 2 if len(shown) > 3 else 1
    pair_width, panel_height = WIDTH / beside, 96.0 if beside == 1 else 62.0
    width = pair_width / len(titles)
    names = [folded(name, int(pair_width / BOLD_LETTER) - 1) for name in shown]
    heading = TEXT_LINE * (1 + max(map(len, names))) + 10
    row_height = heading + panel_height + 16
    height = row_height * -(-len(shown) // beside) + 16
    figure = canvas(WIDTH, height)
    for number, (method, name) in enumerate(zip(shown, names, strict=True)):
        row, place = divmod(number, beside)
        x, y = place * pair_width + 1, height - row * row_height
        figure.text(x / WIDTH, (y - 9) / height, "\n".join(name), color=INK, va="top", weight="bold")
        for k, (column, title) in enumerate(titles.items()):
            axes = axes_at(figure, x + k * width + 26, y - heading - panel_height, width - 36, panel_height)
            axes.set_title(title, color=MUTED, fontsize=SIZE - 1, loc="left", pad=4)
            for drawn, color in {reference: MUTED, method: MUTED if method == reference else ACCENT}.items():
                if column in methods[drawn]:
                    _curve(axes, methods[drawn][column], color)
            _scale(axes, [columns[column] for columns in methods.values() if column in columns], column == "loss")
    figure.text(0.5, 4 / height, "epoch", color=MUTED, ha="center", va="bottom", fontsize=SIZE - 1)
    return figure


def _curve(axes: Axes, values: np.ndarray, color: str) -> None:
    epochs = np.arange(1, values.shape[1] + 1)
    mean, half = pointwise(values)
    axes.plot(epochs, mean, color=color, linewidth=1.4, marker="o" if len(epochs) == 1 else None, markersize=3)
    if half is not None:
        axes.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.22, linewidth=0)


def _scale(axes: Axes, drawn: Sequence[np.ndarray], may_be_log: bool) -> None:
    """The vertical axis that all panels of a column share: all means on a logarithmic one, otherwise without the fall
    of the first epochs."""
    means = [values.mean(axis=0) for values in drawn]
    low, high = float(min(m.min() for m in means)), float(max(m.max() for m in means))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=SIZE - 1, pad=2)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.spines["bottom"].set(visible=True, color=LINE)
    if may_be_log and 0 < 20 * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low / 1.5, high * 1.3)
        return
    late = np.concatenate([mean[len(mean) // 20 :] for mean in means])
    margin = 0.06 * (float(np.ptp(late)) or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(float(late.min()) - margin, float(late.max()) + margin)
