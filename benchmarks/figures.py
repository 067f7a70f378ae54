"""Draw a CSV of the benchmarks again: `python benchmarks/figures.py results/bench-*.csv`; a PNG beside each.

Drawn are the newest rows of the newest row's device. Needs matplotlib.
"""

import csv
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, str]

# Okabe and Ito's colours: distinct for every kind of colour vision.
COLOURS = {
    "published": "#999999",
    "reference": "#E69F00",
    "eager": "#56B4E9",
    "compiled": "#009E73",
    "triton": "#D55E00",
}
OURS, OTHERS, GREY = "#D55E00", {"timm": "#56B4E9", "torchvision": "#56B4E9", "multiply": "#555555"}, "#555555"
SETTING = ("threads", "clock", "malloc")


def draw(path: Path) -> None:
    """The figure of a CSV, beside it."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["device"] == rows[-1]["device"]]
    of_op = "share_of_copy" in rows[0]
    figure = draw_op(rows) if of_op else draw_step(rows)
    figure.savefig(path.with_suffix(".png"), dpi=140)


def draw_op(rows: Sequence[Row]) -> Figure:
    """A panel for a shape, dtype and setting; bars for a norm and layout, in multiples of the limit."""
    rows = [row for row in rows if row["direction"] == "both"]
    figure, panels = _panels(rows, ("shape", "dtype", *SETTING), 2.6)
    for axes, mine in panels:
        newest = {(row["norm"], row["layout"], row["contestant"]): row for row in mine}
        groups = list(dict.fromkeys(key[:2] for key in newest))
        names = [name for name in COLOURS if any(key[2] == name for key in newest)]
        height = 0.8 / len(names)
        for (number, name), (place, group) in product(enumerate(names), enumerate(groups)):
            if row := newest.get((*group, name)):
                multiple, y = 1 / float(row["share_of_copy"]), place + (number - (len(names) - 1) / 2) * height
                axes.barh(y, multiple, 0.9 * height, color=COLOURS[name], label=name if place == 0 else None)
                text = f" {multiple:.1f}x   {float(row['ms']):.3g} ms"
                axes.text(multiple, y, text, va="center", fontsize=7, color=GREY)
        axes.axvline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(groups)), ["\n".join(group) for group in groups], fontsize=8)
        axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
        axes.legend(fontsize=7, frameon=False, loc="lower right")
        _title(axes, f"{mine[-1]['shape']}, {mine[-1]['dtype']}", mine[-1])
    figure.suptitle(
        "Exchange, forward + backward: time as a multiple of the limit\n"
        f"(5 tensors of the features' size at the speed of a copy); {rows[-1]['device']}, torch {rows[-1]['torch']}",
        fontsize=10,
    )
    return figure


def draw_step(rows: Sequence[Row]) -> Figure:
    """One panel a setting; a bar a contestant: the step's time as a ratio to plain, with quartiles."""
    figure, panels = _panels(rows, ("model", "batch", "precision", "compiled", "layout", *SETTING), 2.3, sharex=True)
    for axes, mine in panels:
        newest = {row["contestant"]: row for row in mine}
        plain = newest.pop("plain")
        for place, (name, row) in enumerate(newest.items()):
            ratio, low, high = (100 * float(row[key]) - 100 for key in ("ratio", "ratio_q1", "ratio_q3"))
            axes.barh(place, ratio, 0.6, color=OTHERS.get(name.partition("-")[0], OURS))
            axes.plot([low, high], [place, place], color="black", linewidth=1.2)
            text = f"  {ratio:+.1f}%, memory {float(row['peak_ratio']):.2f}x"
            axes.text(max(high, ratio, 0), place, text, va="center", fontsize=8)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_yticks(range(len(newest)), list(newest), fontsize=9)
        compiled = ", compiled" if plain["compiled"] == "True" else ""
        what = f"{plain['model']}, batch {plain['batch']}, precision {plain['precision']}, {plain['layout']}{compiled}"
        _title(axes, f"{what}: plain {float(plain['ms']):.4g} ms", plain)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.35 * (high - low))
    axes.set_xlabel("training step, % slower than plain in the same round: median and quartiles")
    figure.suptitle(f"{rows[-1]['device']}, torch {rows[-1]['torch']}", fontsize=10)
    return figure


def _panels(
    rows: Sequence[Row], keys: Sequence[str], height: float, sharex: bool = False
) -> tuple[Figure, list[tuple[Axes, list[Row]]]]:
    """A figure with a panel for the rows that have the same values of these keys."""
    panels: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        panels.setdefault(tuple(row[key] for key in keys), []).append(row)
    figure = Figure(figsize=(8, 0.9 + height * len(panels)), layout="constrained")
    every = figure.subplots(len(panels), squeeze=False, sharex=sharex)[:, 0]
    return figure, list(zip(every, panels.values(), strict=True))


def _title(axes: Axes, what: str, row: Row) -> None:
    """A title with how the process ran, on a CPU, and the style of a panel."""
    threads = f"{row['threads']} thread{'' if row['threads'] == '1' else 's'}" if row["threads"] else ""
    process = ", ".join(filter(None, (threads, "CPU time" if row["clock"] == "cpu" else "")))
    axes.set_title("\n".join(filter(None, (what, process, row["malloc"]))), fontsize=10, loc="left", color=GREY)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[["right", "top", "left"]].set_visible(False)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        draw(Path(path))
