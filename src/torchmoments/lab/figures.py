"""Figures of a comparison: seed by seed, and the learning curves.

Drawn without pyplot: no window, no global state. Lengths are in points (1/72 inch), so that the same drawing is made for
a page and, narrower, for a phone.
"""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from torchmoments.lab.statistics import pointwise

# Okabe and Ito's blue: distinct from the greys for every kind of colour vision.
INK, MUTED, LINE, ACCENT = "#1b1f24", "#5c6670", "#dfe3e8", "#0072b2"
WIDE, NARROW = 518.0, 262.0

_SIZE, _EDGE, _DOT = 9.0, 1.0, 5.5
_LETTER, _TEXT_LINE = 0.56 * _SIZE, 12.0


@dataclass(frozen=True)
class Row:
    """One method seed by seed: its word, {seed: difference to the reference}, their mean and interval."""

    word: str
    differences: dict[int, float]
    mean: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Curves:
    """One method's {column of metrics.csv: [seeds, epochs]}."""

    word: str
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class Drawing:
    """A figure as files (png, svg) and as two inline SVGs whose colours are CSS variables and whose text is text."""

    png: bytes
    svg: bytes
    wide: str
    narrow: str


def draw(name: str, figure: Callable[[float], Figure]) -> Drawing:
    """Draw `figure(width)` for files and for a page. The same input gives the same bytes.

    Args:
        name: starts the ids in the inline SVGs, which share a document.
        figure: makes the figure for a width in points.
    """
    # A user's words are never formulas.
    with rc_context({"svg.hashsalt": "torchmoments", "font.size": _SIZE, "text.parse_math": False}):
        wide, narrow = figure(WIDE), figure(NARROW)
        png, svg = _saved(wide, "png"), _saved(wide, "svg")
        with rc_context({"svg.fonttype": "none"}):
            return Drawing(png, svg, _inline(f"{name}-wide", wide), _inline(f"{name}-narrow", narrow))


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
    letters = int((width - 2 * _EDGE) / _LETTER)
    diameter = (high - low) * _DOT / (width - 2 * _EDGE)
    stacks = [_stacked(row.differences, diameter) for row in rows]
    names = [_wrapped(row.word, letters - 24) for row in rows]
    heights = [_TEXT_LINE * len(name) + _pile(stack) + 28 for name, stack in zip(names, stacks, strict=True)]
    figure, axes = _canvas(width, 22 + sum(heights), 40)
    axes.set_xlim(low, high)
    inside = margin / 2
    ticks = MaxNLocator(6 if width > 400 else 4).tick_values(low, high)
    ticks = [tick for tick in ticks if low + inside <= tick <= high - inside]
    axes.set_xticks(ticks)
    axes.tick_params(axis="x", length=0, labelcolor=MUTED)
    _directions(axes, low, high)
    top = 22.0
    for row, name, stack, height in zip(rows, names, stacks, heights, strict=True):
        _row(axes, row, name, stack, top, top + height - 10, ticks)
        top += height
    axes.set_xlabel("\n".join(textwrap.wrap(label, letters)), color=MUTED)
    return figure


def curves(
    methods: list[Curves], reference: Curves, titles: dict[str, str], width: float, many_columns: int = 4
) -> Figure:
    """For each method a pair of panels, it and the reference: the mean over seeds by epoch, with a pointwise 95% band.

    Args:
        methods: the others; where there are none, the reference is drawn alone.
        reference: drawn in grey in every panel.
        titles: {column: title of its panels}, in their order.
        width: in points.
        many_columns: panels side by side where there is room and more than three methods.
    """
    pairs: list[Curves | None] = [*methods] or [None]
    columns = [name for name in titles if name in reference.columns]
    beside = max(1, many_columns // len(columns)) if len(pairs) > 3 and width > 400 else 1
    left, gap, panel = 26.0, 8.0, (62.0 if width < 400 or beside > 1 else 96.0)
    cell = (width - 2 * _EDGE) / (beside * len(columns))
    letters = int(cell * len(columns) / _LETTER) - 2
    names = [_wrapped((pair or reference).word, letters) for pair in pairs]
    lines = max(len(name) for name in names)
    height_of_row = _TEXT_LINE * (lines + 1) + panel + 26
    rows = -(-len(pairs) // beside)
    height = rows * height_of_row + 16
    figure = Figure(figsize=(width / 72, height / 72))
    drawn = {name: [c.columns[name] for c in [reference, *methods] if name in c.columns] for name in columns}
    logarithmic = [name for name in columns if name == "loss" and _spans_magnitudes(drawn[name])]
    limits = {name: _limits(drawn[name], name in logarithmic) for name in columns}
    for number, (pair, name) in enumerate(zip(pairs, names, strict=True)):
        row, place = divmod(number, beside)
        x = _EDGE + place * cell * len(columns)
        y = height - row * height_of_row
        figure.text(x / width, (y - 9) / height, "\n".join(name), color=INK, va="top", weight="bold")
        for k, column in enumerate(columns):
            bottom = y - _TEXT_LINE * (lines + 1) - panel - 10
            box = ((x + k * cell + left) / width, bottom / height, (cell - left - gap) / width, panel / height)
            axes = figure.add_axes(box)
            axes.set_title(titles[column], color=MUTED, fontsize=_SIZE - 1, loc="left", pad=4)
            _panel(axes, reference.columns[column], None if pair is None else pair.columns.get(column))
            if column in logarithmic:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(numticks=4))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_locator(NullLocator())
            axes.set_ylim(*limits[column])
    figure.text(0.5, 4 / height, "epoch", color=MUTED, ha="center", va="bottom", fontsize=_SIZE - 1)
    return figure


def _canvas(width: float, top: float, below: float) -> tuple[Figure, Axes]:
    """An empty figure whose axes are `top` points high, with y in points from their upper edge."""
    height = top + below
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((_EDGE / width, below / height, 1 - 2 * _EDGE / width, top / height))
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
            axes.annotate(
                word, (0, 8), (side, 0), textcoords="offset points", ha=alignment, va="center", color=MUTED
            )


def _row(
    axes: Axes, row: Row, name: list[str], stack: list[tuple[float, int]], top: float, bottom: float, ticks: list[float]
) -> None:
    edge = axes.get_yaxis_transform()
    axes.text(0, top, "\n".join(name), transform=edge, va="top", color=INK, weight="bold", linespacing=1.15)
    base = bottom - 12
    above = top + _TEXT_LINE * len(name) + 1
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
    numbers = f"{row.mean:+.2f}" + ("" if row.ci95 is None else f" ({row.ci95[0]:+.2f} to {row.ci95[1]:+.2f})")
    axes.text(1, top, numbers.replace("-", "\u2212"), transform=edge, va="top", ha="right", color=INK)


def _stacked(of_seeds: dict[int, float], diameter: float) -> list[tuple[float, int]]:
    """(value, level) for each seed: the lowest level on which its dot covers no other."""
    ends: list[float] = []
    placed = []
    for value in sorted(of_seeds.values()):
        level = next((k for k, end in enumerate(ends) if value - end >= diameter), len(ends))
        ends[level:level + 1] = [value]
        placed.append((value, level))
    return placed


def _step(stack: list[tuple[float, int]]) -> float:
    """Points from one level to the next; many levels overlap rather than grow without end."""
    return min(_DOT + 0.5, 84 / max(1, *(level for _, level in stack), 1))


def _pile(stack: list[tuple[float, int]]) -> float:
    return _DOT + _step(stack) * max(level for _, level in stack) if stack else 0.0


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
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=_SIZE - 1, pad=2)
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


def _wrapped(word: str, letters: int) -> list[str]:
    """A method's word in lines of at most so many letters, broken after an option where possible."""
    spaced = word.replace(",", ", ").replace("+", "+ ")
    lines = textwrap.wrap(spaced, max(8, letters), break_on_hyphens=False)
    return [line.replace(", ", ",").replace("+ ", "+") for line in lines] or [""]


def _saved(figure: Figure, kind: str) -> bytes:
    file = BytesIO()
    if kind == "png":
        figure.savefig(file, format="png", dpi=180, facecolor="white", metadata={"Software": None})
    else:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _inline(name: str, figure: Figure) -> str:
    """The figure for a place inside HTML: no size, ids of its own, and colours that follow the page."""
    text = _saved(figure, "svg").decode()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Only inside tags: a user's words stand between them.
    text = re.sub(r"<[^>]+>", lambda tag: _themed(tag[0], name), text)
    size = r' (?:width|height)="[^"]*"'
    head, _, rest = text.partition(">")
    return re.sub(size, "", head).replace("<svg", '<svg aria-hidden="true" focusable="false"') + ">" + rest.strip()


def _themed(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", tag)
    for color, variable in ((INK, "ink"), (MUTED, "muted"), (LINE, "line"), (ACCENT, "accent")):
        tag = tag.replace(color, f"var(--{variable})")
    return tag
