"""The learning curves: each method beside the reference. Lengths are in points."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from torchmoments_lab.report.figures import ACCENT, BOLD_LETTER, EDGE, INK, LINE, MUTED, SIZE, TEXT_LINE, WIDE, wrapped
from torchmoments_lab.statistics import pointwise

# Room left of a panel for its numbers, and right of it.
_TICKS, _GAP = 26.0, 8.0


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
    columns = [name for name in titles if name in reference.columns]
    drawn = {name: [c.columns[name] for c in [reference, *methods] if name in c.columns] for name in columns}
    scales = {name: _Scale.of(drawn[name], name == "loss") for name in columns}
    pairs: list[Curves | None] = [*methods] or [None]
    beside = 2 if len(pairs) > 3 and width == WIDE else 1
    pair_width = (width - 2 * EDGE) / beside
    panel_width, panel_height = pair_width / len(columns), 62.0 if width < WIDE or beside > 1 else 96.0
    names = [wrapped((pair or reference).word, int(pair_width / BOLD_LETTER) - 1) for pair in pairs]
    heading = TEXT_LINE * (1 + max(len(name) for name in names)) + 10
    row_height = heading + panel_height + 16
    height = row_height * -(-len(pairs) // beside) + 16
    figure = Figure(figsize=(width / 72, height / 72))
    for number, (pair, name) in enumerate(zip(pairs, names, strict=True)):
        row, place = divmod(number, beside)
        x, y = EDGE + place * pair_width, height - row * row_height
        figure.text(x / width, (y - 9) / height, "\n".join(name), color=INK, va="top", weight="bold")
        for k, column in enumerate(columns):
            left, bottom = x + k * panel_width + _TICKS, y - heading - panel_height
            size = (panel_width - _TICKS - _GAP, panel_height)
            axes = figure.add_axes((left / width, bottom / height, size[0] / width, size[1] / height))
            axes.set_title(titles[column], color=MUTED, fontsize=SIZE - 1, loc="left", pad=4)
            _panel(axes, reference.columns[column], None if pair is None else pair.columns.get(column))
            scales[column].apply(axes)
    figure.text(0.5, 4 / height, "epoch", color=MUTED, ha="center", va="bottom", fontsize=SIZE - 1)
    return figure


@dataclass(frozen=True)
class _Scale:
    """The vertical axis that all panels of a column share."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, columns: list[np.ndarray], may_be_log: bool) -> Self:
        """What the means need: all of them on a logarithmic axis, otherwise without the fall of the first epochs."""
        means = [column.mean(axis=0) for column in columns]
        low, high = float(min(m.min() for m in means)), float(max(m.max() for m in means))
        if may_be_log and 0 < 20 * low < high:
            return cls(low / 1.5, high * 1.3, True)
        late = np.concatenate([mean[len(mean) // 20 :] for mean in means])
        low, high = float(late.min()), float(late.max())
        margin = 0.06 * ((high - low) or 1.0)
        return cls(low - margin, high + margin, False)

    def apply(self, axes: Axes) -> None:
        if self.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(numticks=4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(self.low, self.high)


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
