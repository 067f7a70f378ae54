"""Figures of the benchmarks, from the rows of their CSV: the newest result of each kind, of the newest row's device."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchmoments_lab.bench.rows import Row
from torchmoments_lab.files import replacing

# Okabe and Ito's colours: distinct for every kind of colour vision.
COLOURS = {
    "published": "#999999",
    "reference": "#E69F00",
    "eager": "#56B4E9",
    "compiled": "#009E73",
    "triton": "#D55E00",
}
_OURS, _OTHERS, _GREY = "#D55E00", "#56B4E9", "#555555"
_NOT_OURS = {"timm": _OTHERS, "torchvision": _OTHERS, "multiply": _GREY}
_SETTING = ("threads", "clock", "malloc")


def write_op(path: Path, rows: Sequence[Row]) -> None:
    """A panel for a shape, dtype, setting; bars for a norm and layout: both directions, in multiples of the limit."""
    rows = [row for row in _of_newest_device(rows) if row["direction"] == "both"]
    panels = _grouped(rows, "shape", "dtype", *_SETTING)
    figure = Figure(figsize=(8, 0.9 + 2.6 * len(panels)), layout="constrained")
    every = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axes, (panel, mine) in zip(every, panels.items(), strict=True):
        _op_panel(axes, mine)
        axes.set_title(f"{panel[0]}, {panel[1]}{_setting(mine[-1])}", fontsize=10, loc="left", color=_GREY)
    figure.suptitle(
        "Exchange, forward + backward: time as a multiple of the limit\n"
        f"(5 tensors of the features' size at the speed of a copy); {_where(rows)}",
        fontsize=10,
    )
    _save(figure, path)


def _op_panel(axes: Axes, rows: Sequence[Row]) -> None:
    groups = list(dict.fromkeys((row["norm"], row["layout"]) for row in rows))
    names = [name for name in COLOURS if any(row["contestant"] == name for row in rows)]
    height = 0.8 / len(names)
    for number, name in enumerate(names):
        for place, group in enumerate(groups):
            row = _newest(rows, contestant=name, norm=group[0], layout=group[1])
            if row is None:
                continue
            multiple = 1 / float(row["share_of_copy"] or 1)
            y = place + (number - (len(names) - 1) / 2) * height
            axes.barh(y, multiple, 0.9 * height, color=COLOURS[name], label=name if place == 0 else None)
            axes.text(
                multiple, y, f" {multiple:.1f}x   {float(row['ms'] or 0):.3g} ms", va="center", fontsize=7, color=_GREY
            )
    axes.axvline(1, color=_GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(groups)), [f"{norm}\n{layout}" for norm, layout in groups], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    _bare(axes)


def write_step(path: Path, rows: Sequence[Row]) -> None:
    """One panel a setting; a bar a contestant: the step's time as a ratio to plain, with quartiles."""
    rows = _of_newest_device(rows)
    panels = _grouped(rows, "model", "batch", "precision", "compiled", "layout", *_SETTING)
    figure = Figure(figsize=(8, 0.9 + 2.3 * len(panels)), layout="constrained")
    every = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axes, (panel, mine) in zip(every, panels.items(), strict=True):
        names = [name for name in dict.fromkeys(row["contestant"] for row in mine) if name != "plain"]
        for place, name in enumerate(names):
            row = _newest(mine, contestant=name)
            assert row is not None
            ratio, low, high = (100 * float(row[key] or 1) - 100 for key in ("ratio", "ratio_q1", "ratio_q3"))
            colour = _NOT_OURS.get(str(name).partition("-")[0], _OURS)
            axes.barh(place, ratio, 0.6, color=colour)
            axes.plot([low, high], [place, place], color="black", linewidth=1.2)
            axes.text(
                max(high, ratio, 0),
                place,
                f"  {ratio:+.1f}%, memory {float(row['peak_ratio'] or 1):.2f}x",
                va="center",
                fontsize=8,
            )
        axes.axvline(0, color=_GREY, linewidth=1)
        axes.set_yticks(range(len(names)), [str(name) for name in names], fontsize=9)
        axes.invert_yaxis()
        plain = _newest(mine, contestant="plain")
        speed = "" if plain is None else f": plain {float(plain['ms'] or 0):.4g} ms"
        compiled = ", compiled" if panel[3] == "True" else ""
        axes.set_title(
            f"{panel[0]}, batch {panel[1]}, precision {panel[2]}, {panel[4]}{compiled}{speed}{_setting(mine[-1])}",
            fontsize=10,
            loc="left",
            color=_GREY,
        )
        _bare(axes)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.35 * (high - low))
    axes.set_xlabel("training step, % slower than plain in the same round: median and quartiles")
    figure.suptitle(_where(rows), fontsize=10)
    _save(figure, path)


def _setting(row: Row) -> str:
    """The title's other lines: how the process ran, where it ran on a CPU."""
    threads = f"{row['threads']} thread{'' if str(row['threads']) == '1' else 's'}" if row["threads"] else ""
    clock = "CPU time" if row["clock"] == "cpu" else ""
    lines = [", ".join(word for word in (threads, clock) if word), row["malloc"]]
    return "".join(f"\n{line}" for line in lines if line)


def _grouped(rows: Sequence[Row], *keys: str) -> dict[tuple[object, ...], list[Row]]:
    """The rows of each panel, by what they share."""
    panels: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        panels.setdefault(tuple(row[key] for key in keys), []).append(row)
    return panels


def _of_newest_device(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["device"] == rows[-1]["device"]]


def _newest(rows: Sequence[Row], **values: object) -> Row | None:
    return next((row for row in reversed(rows) if all(row[key] == value for key, value in values.items())), None)


def _where(rows: Sequence[Row]) -> str:
    return f"{rows[-1]['device']}, torch {rows[-1]['torch']}"


def _bare(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    for side in ("right", "top", "left"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=140, format="png")
