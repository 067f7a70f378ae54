"""The statistics of a sweep, from its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from torchmoments_lab.report.reading import Comparison, RunRecord
from torchmoments_lab.report.summarize import about
from torchmoments_lab.report.summary import Best, Cell, Effect, Failure, SweepSummary
from torchmoments_lab.statistics import LEVEL, Errors, estimate, holm, paired, with_holm
from torchmoments_lab.sweep import effects


@dataclass(frozen=True)
class Outcome:
    """One method with one combination of training settings, and its errors.

    Args:
        settings: {training setting that is an axis: value}.
        values: {axis: value} of a cell of the grid; None of a method that is trained beside the grid.
        command: trains it and the reference again, evaluated on the test images.
    """

    method: str
    settings: Mapping[str, str]
    values: Mapping[str, str] | None
    errors: Errors
    command: str = ""

    @property
    def place(self) -> Mapping[str, str]:
        """{axis: value}, as far as it has them."""
        return self.settings if self.values is None else self.values

    @property
    def cell(self) -> Cell:
        return Cell(self.place, self.method, estimate(list(self.errors.values())), None)


@dataclass(frozen=True)
class Sweep:
    """The axes {name: values}, the reference for each combination of training settings, and what is compared with it.

    Args:
        comparisons: what the errors were read from.
    """

    axes: Mapping[str, tuple[str, ...]]
    reference: str
    references: Sequence[Outcome]
    outcomes: Sequence[Outcome]
    comparisons: Sequence[Comparison]

    def reference_of(self, outcome: Outcome) -> Errors:
        return next(found.errors for found in self.references if found.settings == outcome.settings)

    @property
    def runs(self) -> dict[str, dict[int, RunRecord]]:
        """The complete runs of all comparisons, by folder and method."""
        return {
            f"{number}/{method}": dict(runs)
            for number, part in enumerate(self.comparisons)
            for method, runs in part.runs.items()
        }


def summarize(sweep: Sweep) -> SweepSummary:
    """What the runs show, without the conclusion. p_holm counts the cells and the controls."""
    differences = with_holm([paired(outcome.errors, sweep.reference_of(outcome)) for outcome in sweep.outcomes])
    compared = [
        (outcome.values is not None, replace(outcome.cell, difference=difference))
        for outcome, difference in zip(sweep.outcomes, differences, strict=True)
    ]
    runs = [run for of_method in sweep.runs.values() for run in of_method.values()]
    failed: list[Failure] = [failure for part in sweep.comparisons for failure in part.failed]
    settings = [{k: v for k, v in run.config.items() if k not in ("method", "seed")} for run in runs]
    shared = {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)} if settings else {}
    return SweepSummary(
        axes=sweep.axes,
        reference=sweep.reference,
        references=tuple(replace(outcome.cell, method=sweep.reference) for outcome in sweep.references),
        controls=tuple(cell for in_grid, cell in compared if not in_grid),
        cells=tuple(cell for in_grid, cell in compared if in_grid),
        best=_best(sweep),
        effects=_effects(sweep),
        seconds=sum(run.seconds for run in runs),
        **about(sweep.runs, failed, shared),
    )


# Axes along which every method gets better: there is nothing to choose.
MORE_DATA = {"train_size", "data"}


def _best(sweep: Sweep) -> Best | None:
    if MORE_DATA & set(sweep.axes):
        return None
    in_grid = [outcome for outcome in sweep.outcomes if outcome.values is not None]
    seeds = {seed for outcome in in_grid for seed in outcome.errors}
    # Means of other seeds cannot be compared: a combination that lacks one, because it failed, is not in the running.
    grid = [outcome for outcome in in_grid if seeds and set(outcome.errors) == seeds]
    if not grid:
        return None
    # The same training under two combinations is no rival of itself.
    trainings = list({(outcome.method, *outcome.settings.items()): outcome for outcome in grid}.values())
    best = min(trainings, key=lambda outcome: float(np.mean(list(outcome.errors.values()))))
    # Adjusted over all pairs: any of them might have become the best and a rival.
    pairs = list(combinations(trainings, 2))
    p_values = holm([paired(one.errors, other.errors).p_value for one, other in pairs])
    of_best = [p for pair, p in zip(pairs, p_values, strict=True) if best in pair]
    return Best(
        values=best.place,
        method=best.method,
        error=best.cell.error,
        command=best.command,
        rivals=len(of_best),
        not_worse=sum(p is None or p >= LEVEL for p in of_best),
    )


def _effects(sweep: Sweep) -> tuple[Effect, ...]:
    by_values = [outcome.errors for outcome in sweep.outcomes if outcome.values is not None]
    if not any(len(values) == 2 for values in sweep.axes.values()):
        return ()
    seeds = sorted(set.intersection(*(set(errors) for errors in by_values)))
    shape = [len(values) for values in sweep.axes.values()]
    errors = np.array([[of_cell[seed] for of_cell in by_values] for seed in seeds])
    return effects.effects(errors.reshape(len(seeds), *shape), sweep.axes)
