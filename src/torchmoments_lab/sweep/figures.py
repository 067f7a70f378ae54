"""The figure of a sweep: lines over a numeric axis, a heat map of two axes, or rows with their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from torchmoments_lab.report import rows
from torchmoments_lab.report.figures import ACCENT, INK, LETTER, LINE, MUTED, WIDE
from torchmoments_lab.sweep.effects import name_of

# Okabe and Ito's: blue for better, vermilion for worse, and the others for more lines.
_WORSE = "#d55e00"
_COLORS = (ACCENT, _WORSE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
_MAP = LinearSegmentedColormap.from_list("better_worse", [ACCENT, "#9cc9e3", "#f7f7f7", "#f2b48c", _WORSE])


def figure(summary: dict[str, Any]) -> Figure:
    """One axis, or two of which one has numbers and the other is the method or a training setting: lines. Two: a heat
    map. More: rows, and the effects below them."""
    axes = summary["axes"]
    names = list(axes)
    across = _line_axis(summary)
    if across is not None:
        return _lines(summary, across, WIDE)
    if len(names) == 2:
        return _heat_map(summary, WIDE)
    return _rows(summary, WIDE)


def _line_axis(summary: dict[str, Any]) -> str | None:
    """The axis that lines go along; None where lines are not the right picture."""
    axes = summary["axes"]
    numeric = [name for name, values in axes.items() if len(values) > 1 and all(map(_is_number, values))]
    settings = set(summary["references"][0]["settings"])
    if len(axes) == 1:
        return numeric[0] if numeric else None
    if len(axes) == 2 and ("method" in axes or settings & set(numeric)):
        along = [name for name in numeric if name in settings] or numeric
        return along[0] if along else None
    return None


def _lines(summary: dict[str, Any], across: str, width: float) -> Figure:
    other = next((name for name in summary["axes"] if name != across), None)
    series = summary["axes"][other] if other else [None]
    figure, axes = _panel(width, 0.62 * min(width, 420) + 60)
    where = [float(value) for value in summary["axes"][across]]
    spread = max(where) / min(where) if min(where) > 0 else 1.0
    if spread >= 4:
        axes.set_xscale("log")
    axes.axhline(0, color=MUTED, linewidth=1)
    for number, value in enumerate(series):
        color = _COLORS[number % len(_COLORS)]
        entries = [e for e in summary["cells"] if other is None or e["values"][other] == value]
        # Side by side, so that intervals at one place do not cover each other.
        shift = (number - (len(series) - 1) / 2) * 0.018
        x = [v * (1 + shift) if spread >= 4 else v + shift * (max(where) - min(where)) for v in where]
        mean = [np.nan if e["difference_mean"] is None else e["difference_mean"] for e in entries]
        for place, entry in zip(x, entries, strict=True):
            if entry["difference_ci95"] is not None:
                axes.plot([place] * 2, entry["difference_ci95"], color=color, linewidth=2, solid_capstyle="butt")
        label = None if value is None else (value if other == "method" else f"{other}={value}")
        axes.plot(x, mean, "o-", color=color, markersize=5, linewidth=1.3, label=label)
    axes.set_xticks(where, summary["axes"][across])
    axes.minorticks_off()
    axes.set_xlabel(across.replace("_", " "), color=MUTED)
    axes.set_ylabel(f"error minus {summary['reference']}, points", color=MUTED)
    axes.set_title("below 0 is better; lines are 95% CIs over seeds", color=MUTED, fontsize=8, loc="left")
    if other is not None:
        axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return figure


def _heat_map(summary: dict[str, Any], width: float) -> Figure:
    (down, values_down), (across, columns) = summary["axes"].items()
    height = 34.0 * len(values_down)
    figure, axes = _panel(width, height + 66, bottom=38, top=28, left=62)
    values = np.array([np.nan if e["difference_mean"] is None else e["difference_mean"] for e in summary["cells"]])
    values = values.reshape(len(values_down), len(columns))
    reach = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0, 1e-6)
    axes.grid(False)
    axes.imshow(values, cmap=_MAP, norm=TwoSlopeNorm(0, -reach, reach), aspect="auto")
    best = None if summary["best"] is None else summary["best"]["values"]
    for number, entry in enumerate(summary["cells"]):
        row, column = divmod(number, len(columns))
        if entry["difference_mean"] is None:
            continue
        color = "white" if abs(entry["difference_mean"]) > 0.72 * reach else INK
        mean = f"{entry['difference_mean']:+.2f}".replace("-", "\u2212")
        weight = "bold" if entry["values"] == best else "normal"
        axes.text(column, row - 0.13, mean, ha="center", va="center", color=color, weight=weight)
        if entry["difference_ci95"] is not None:
            half = (entry["difference_ci95"][1] - entry["difference_ci95"][0]) / 2
            axes.text(column, row + 0.24, f"± {half:.2f}", ha="center", va="center", color=color, fontsize=6.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(values_down)), values_down)
    axes.set_xlabel(across.replace("_", " "), color=MUTED)
    axes.set_ylabel(down.replace("_", " "), color=MUTED)
    axes.set_title(
        f"error minus {summary['reference']}, points; ± 95% CI; bold: lowest error", color=MUTED, fontsize=8, loc="left"
    )
    return figure


def _rows(summary: dict[str, Any], width: float) -> Figure:
    """Differences of controls and cells, the values of the axes beside them; below, the effects."""
    names = [name.replace("_", " ") for name in summary["axes"]]
    entries = [*summary["controls"], *summary["cells"]]
    labels = [list(e["values"].values()) if "values" in e else [e["method"]] for e in entries]
    effects = summary["effects"] if len(summary["cells"]) > 2 else []
    room = min(0.56 * width, _room([names, *labels, *([name_of(effect)] for effect in effects)]))
    parts = [part for part in (len(entries), len(effects)) if part]
    height = sum(rows.HEAD + rows.ROW * part + rows.FOOT for part in parts)
    figure = Figure(figsize=(width / 72, height / 72))
    axes = rows.strip(figure, len(entries), height - rows.HEAD, room)
    rows.words(axes, -1, names, room, MUTED)
    for row, (entry, label) in enumerate(zip(entries, labels, strict=True)):
        rows.words(axes, row, label, room, INK)
        color = ACCENT if "values" in entry else MUTED
        rows.interval(axes, row, entry["difference_mean"], entry["difference_ci95"], color)
    axes.set_xlabel(f"error minus {summary['reference']}, points (left of 0: better)", color=MUTED)
    if effects:
        below = rows.strip(figure, len(effects), height - 2 * rows.HEAD - rows.ROW * len(entries) - rows.FOOT, room)
        for row, effect in enumerate(effects):
            rows.words(below, row, [name_of(effect)], room, INK)
            rows.interval(below, row, effect["effect_mean"], effect["effect_ci95"], _WORSE)
        below.set_xlabel("effects and interactions, points, averaged over the other axes", color=MUTED)
    return figure


def _room(labels: Sequence[Sequence[str]]) -> float:
    """Points that the words beside the rows need; each row shares them equally among its words."""
    return max(len(row) * (max(map(len, row)) + 2) * LETTER for row in labels)


def _panel(width: float, height: float, bottom: float = 40, top: float = 24, left: float = 48) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72))
    box = (left / width, bottom / height, (width - left - 8) / width, (height - bottom - top) / height)
    axes = figure.add_axes(box)
    rows.plain(axes)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    return figure, axes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
