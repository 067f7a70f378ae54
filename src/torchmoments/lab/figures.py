"""Figures of a comparison. Drawn without pyplot: no window, no global state."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion: distinct for every kind of colour vision, and in grey.
_SEED, _MEAN, _GREY = "#56B4E9", "#D55E00", "#555555"


def write_differences(out: Path, differences: dict[str, dict[int, float]], summary: dict[str, Any]) -> None:
    """Write differences.png and .svg: one row a method, one dot a seed, the mean with its 95% interval below them."""
    # The same runs give the same file.
    with rc_context({"svg.hashsalt": "torchmoments", "font.size": 10}):
        figure = _differences(differences, summary)
        for kind in ("png", "svg"):
            temporary = out / f".differences.tmp.{kind}"
            figure.savefig(temporary, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            os.replace(temporary, out / f"differences.{kind}")


def _differences(differences: dict[str, dict[int, float]], summary: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 1.7 + 1.05 * max(1, len(differences))), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=_GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for row, (word, of_seeds) in enumerate(differences.items()):
        _row(axes, row, of_seeds, summary["paired"][word]["difference_ci95"])
    axes.set_ylim(len(differences) - 0.35, -0.65)
    axes.set_yticks(range(len(differences)), list(differences))
    axes.tick_params(axis="y", length=0)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    low, high = axes.get_xlim()
    reach = max(abs(low), abs(high), 0.5)
    axes.set_xlim(min(low, -0.35 * reach), max(high, 0.35 * reach))
    reference, settings = summary["reference"], summary["settings"]
    axes.set_xlabel(f"difference of the test error to {reference}, percentage points   (left of 0: better)")
    axes.set_title(
        f"{settings.get('data')}, {settings.get('train_size')} training images, {settings.get('epochs')} epochs: "
        f"each dot is a seed, below it the mean and its 95% CI",
        fontsize=10,
        loc="left",
        color=_GREY,
    )
    return figure


def _row(axes: Axes, row: int, of_seeds: dict[int, float], ci95: tuple[float, float] | None) -> None:
    values = sorted(of_seeds.values())
    if not values:
        axes.text(0, row, " no paired runs", va="center", color=_GREY)
        return
    counts = Counter(round(value, 6) for value in values)
    step = min(0.11, 0.5 / max(counts.values()))
    for value, count in counts.items():
        heights = [row - 0.02 - step * k for k in range(count)]
        axes.plot([value] * count, heights, "o", color=_SEED, markersize=6, markeredgecolor="white", zorder=2)
    mean = sum(values) / len(values)
    if ci95 is not None:
        axes.plot(ci95, [row + 0.2] * 2, color=_MEAN, linewidth=2.5, solid_capstyle="butt", zorder=3)
    axes.plot([mean], [row + 0.2], "D", color=_MEAN, markersize=6, zorder=4)
    label = f"{mean:+.2f}" if ci95 is None else f"{mean:+.2f}  [{ci95[0]:+.2f}, {ci95[1]:+.2f}]"
    end = mean if ci95 is None else ci95[1]
    axes.annotate(label, (end, row + 0.2), (8, 0), textcoords="offset points", va="center", color=_MEAN, fontsize=9)
