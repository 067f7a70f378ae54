"""What a sweep shows: its page, its tables and its sentences."""

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from torchmoments_lab.report import figures
from torchmoments_lab.report.bars import Bar, Bars, bars
from torchmoments_lab.report.drawing import ACCENT, INK, MUTED, draw
from torchmoments_lab.report.page import Picture, Table
from torchmoments_lab.report.report import write_grid
from torchmoments_lab.report.summary import Best, Cell, SweepSummary
from torchmoments_lab.report.wording import FEW, adjusted, compared, listed, plus_minus, with_interval
from torchmoments_lab.statistics.values import LEAST_SEEDS, Estimate
from torchmoments_lab.sweep.summary import MORE_DATA, Sweep, summarize
from torchmoments_lab.typed import counted


def write(out: Path, sweep: Sweep) -> SweepSummary:
    """Write the report of a sweep to `out`, see `report.report`."""
    summary = summarize(sweep)
    summary = replace(summary, conclusion=tuple(sentences(summary)))
    picture = Picture("sweep", _described(summary), draw("sweep", lambda: figure(summary)))
    title = f"sweep of {', '.join(_plain(axis) for axis in summary.axes)}"
    write_grid(out, title, summary, [picture, *tables(summary)], sweep.runs, _seed_rows(sweep))
    return summary


def tables(summary: SweepSummary) -> list[Table]:
    """The cells, and if an axis has two values the effects."""
    axes, name = list(summary.axes), summary.metric_name
    beside = (*summary.references, *summary.controls) if summary.has_differences else ()
    rows = [
        [*labels, plus_minus(cell.error), *compared(cell.difference), str(cell.error.n)]
        for cells, in_grid in ((beside, False), (summary.cells, True))
        for cell in cells
        for labels in [list(cell.values.values()) if in_grid else _labels(cell, axes)]
    ]
    images = counted(summary.images, f"{summary.split} image") if summary.images else f"{summary.split} images"
    caption = f"{name[0].upper()}{name[1:]} on {images}, mean ± 95% CI"
    headings = [*axes, f"{name}, {summary.unit}", f"minus {summary.reference}, points", "p", "n"]
    if summary.has_differences:
        caption += "; differences and p for all of them together"
    else:
        headings, rows = [*headings[:-3], "n"], [[*row[:-3], row[-1]] for row in rows]
    found = [Table(caption, headings, rows, names=len(axes), spare=("n", "p"))]
    if len(summary.cells) > 1 and summary.effects:
        rows = [[str(effect), *compared(effect.effect), str(effect.effect.n)] for effect in summary.effects]
        caption = "Effects in points, averaged over the other axes, ± 95% CI of all of them together"
        found.append(Table(caption, ["effect", "points", "p", "n"], rows, spare=("n", "p")))
    return found


def sentences(summary: SweepSummary) -> list[str]:
    """What the sweep shows in plain words."""
    found = []
    best = summary.best
    if best is not None:
        settings = ", ".join(f"{name}={best.values[name]}" for name in summary.references[0].values)
        where = f" at {settings}" if settings else ""
        found.append(
            f"Lowest {summary.metric_name} in the grid: {plus_minus(best.error)} {summary.unit} with {best.method}"
            f"{where}."
        )
        found[0] += _against_reference(summary, best)
        if best.rivals:
            found[0] += f" {_beaten(best)}"
        if best.rivals and summary.split == "validation":
            found.append(
                f"The best of many looks better than it is. Evaluate it once on the test images: {best.command}"
            )
    elif not any(cell.error.n for cell in summary.cells):
        found.append("No run is complete, so nothing can be concluded.")
    elif MORE_DATA & set(summary.axes):
        found.append(
            "No combination is called the best: with more data every method is better, and data sets are not compared "
            f"with each other. The table compares each combination with {summary.reference} on the same data."
        )
    else:
        found.append("No combination has complete runs of all seeds.")
    if 0 < max(cell.error.n for cell in summary.cells) < LEAST_SEEDS:
        found.append("No difference can be shown: intervals and p need three seeds or more.")
    if summary.grown:
        found.append(
            "Seeds were added without a plan. Differences and effects hold however often one looks; the "
            "comparison with the best is not."
        )
    return [*found, *summary.on_runs()]


def _described(summary: SweepSummary) -> str:
    values = {" ".join(cell.values.values()): cell for cell in summary.cells}
    if not summary.has_differences:
        numbers = [f"{name} {with_interval(cell.error)}" for name, cell in values.items()]
        return f"{summary.metric_name} of {summary.reference}, {summary.unit}: {'; '.join(numbers)}."
    numbers = [f"{name} {with_interval(_difference(cell), '+')}" for name, cell in values.items()]
    return f"Difference from {summary.reference}, points: {'; '.join(numbers)}."


def figure(summary: SweepSummary) -> Figure:
    """One axis, or two of which one has numbers and the other is the method or a training setting: lines. Two: a heat
    map. More: bars, and the effects below them. Of the reference alone: bars."""
    if not summary.has_differences:
        alone = [Bar(list(cell.values.values()), cell.error) for cell in summary.cells]
        label = f"{summary.metric_name} of {summary.reference}, {summary.unit}; lines are 95% CIs"
        return bars([Bars(alone, label, list(map(_plain, summary.axes)), signed=False)])
    label = f"{summary.metric_name} minus {summary.reference}, points"
    differences = [_difference(cell) for cell in summary.cells]
    across = _line_axis(summary)
    if across is not None:
        lines: dict[str, list[Estimate]] = {}
        for cell, difference in zip(summary.cells, differences, strict=True):
            others = [v if axis == "method" else f"{axis}={v}" for axis, v in cell.values.items() if axis != across]
            lines.setdefault(", ".join(others), []).append(difference)
        return figures.lines(lines, summary.axes[across], _plain(across), label)
    if len(summary.axes) == 2:
        (down, values), (name, columns) = summary.axes.items()
        rows = {value: differences[k * len(columns) : (k + 1) * len(columns)] for k, value in enumerate(values)}
        places = [cell.values for cell in summary.cells]
        best = None if summary.best is None else places.index(summary.best.values)
        title = f"{label}; ± 95% CI, for all together; bold: lowest error"
        return figures.heat_map(rows, columns, _plain(down), _plain(name), title, best)
    controls = [Bar([cell.method], _difference(cell), MUTED) for cell in summary.controls]
    cells = [Bar(list(cell.values.values()), _difference(cell), ACCENT) for cell in summary.cells]
    parts = [Bars([*controls, *cells], f"{label} (left of 0: better)", list(map(_plain, summary.axes)))]
    if len(summary.cells) > 2 and summary.effects:
        effects = [Bar([str(effect)], adjusted(effect.effect), INK) for effect in summary.effects]
        parts.append(Bars(effects, "effects and interactions, points, averaged over the other axes"))
    return bars(parts)


def _plain(axis: str) -> str:
    return axis.replace("_", " ")


def _line_axis(summary: SweepSummary) -> str | None:
    """The axis that lines go along; None if lines are not the right picture."""
    axes = summary.axes
    numeric = [name for name, values in axes.items() if len(values) > 1 and all(map(_is_number, values))]
    settings = [name for name in numeric if name in summary.references[0].values]
    if len(axes) == 1 or (len(axes) == 2 and ("method" in axes or settings)):
        return next(iter([*settings, *numeric]), None)
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _difference(cell: Cell) -> Estimate:
    """From the reference; of the reference itself 0."""
    if cell.difference is None:
        return Estimate(None if cell.error.mean is None else 0.0, None, cell.error.n)
    return adjusted(cell.difference)


def _against_reference(summary: SweepSummary, best: Best) -> str:
    """Whether the best is better than the reference at all; nothing if there is no interval."""
    difference = next(cell.difference for cell in summary.cells if cell.values == best.values)
    match difference and difference.outcome:
        case "gain":
            return f" It is shown to be better than {summary.reference}."
        case "harm":
            return f" It is shown to be worse than {summary.reference}."
        case "not shown" | "no difference that matters":
            return f" It ties with {summary.reference}: no difference from it is shown."
    return ""


def _beaten(best: Best) -> str:
    rivals, alike = best.rivals, [" ".join(values.values()) for values in best.not_worse]
    if rivals == 1:
        return f"The other training is {'not ' if alike else ''}shown to be worse."
    if len(alike) in (0, rivals):
        return f"{'None' if alike else 'Each'} of the other {rivals} trainings is shown to be worse."
    worse = rivals - len(alike)
    found = f"{worse} of the other {rivals} trainings {'is' if worse == 1 else 'are'} shown to be worse"
    verb = "is" if len(alike) == 1 else "are"
    return f"{found}; {listed(alike, 'and')} {verb} not." if len(alike) <= FEW else f"{found}."


def _labels(cell: Cell, axes: list[str]) -> list[str]:
    """The columns of the axes for a method beside the grid: its settings, and its spec in the first free one."""
    free = next((axis for axis in axes if axis not in cell.values), axes[0])
    return [
        cell.values.get(axis, "") if axis != free else ", ".join(filter(None, (cell.method, cell.values.get(axis))))
        for axis in axes
    ]


def _seed_rows(sweep: Sweep) -> list[dict[str, object]]:
    """One row a run of a cell or of a method beside the grid, so that every number can be worked out again."""
    return [
        {
            **{axis: outcome.place.get(axis) for axis in sweep.axes},
            "method_spec": outcome.method,
            "seed": seed,
            "error": run.value(sweep.metric),
        }
        for outcome in [*sweep.references, *sweep.outcomes]
        for seed, run in outcome.runs.items()
    ]
