"""The statistics of a sweep, from its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from torchmoments_lab.report.runs import Comparison, RunRecord, minus, scores_of
from torchmoments_lab.report.summarize import about, possible
from torchmoments_lab.report.summary import Best, Cell, Effect, Failure, SweepSummary, metric_of
from torchmoments_lab.settings import Metric
from torchmoments_lab.statistics.crossed import estimate
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Looks
from torchmoments_lab.statistics.several import differences, shown_worse
from torchmoments_lab.sweep import effects


@dataclass(frozen=True)
class Outcome:
    """One method with one combination of training settings, and its runs.

    Args:
        settings: {training setting that is an axis: value}.
        values: {axis: value} of a cell of the grid; None of a method that is trained beside the grid.
        looks: how its results were looked at while seeds were added.
        command: trains it and the reference again, evaluated on the test images.
    """

    method: str
    settings: Mapping[str, str]
    values: Mapping[str, str] | None
    runs: Mapping[int, RunRecord]
    looks: Looks = ONCE
    command: str = ""

    @property
    def place(self) -> Mapping[str, str]:
        """{axis: value}, as far as it has them."""
        return self.settings if self.values is None else self.values

    def cell(self, metric: Metric) -> Cell:
        return Cell(self.place, self.method, possible(estimate(scores_of(self.runs, metric)), metric), None)


@dataclass(frozen=True)
class Sweep:
    """The axes {name: values}, the reference for each combination of training settings, and what is compared with it.

    Args:
        comparisons: what the runs were read from.
    """

    axes: Mapping[str, tuple[str, ...]]
    reference: str
    references: Sequence[Outcome]
    outcomes: Sequence[Outcome]
    comparisons: Sequence[Comparison]

    def reference_of(self, outcome: Outcome) -> Mapping[int, RunRecord]:
        return next(found.runs for found in self.references if found.settings == outcome.settings)

    @property
    def grown(self) -> bool:
        """Whether seeds were added later, without a plan."""
        return any(outcome.looks is ANYTIME for outcome in self.outcomes)

    @property
    def metric(self) -> Metric:
        return metric_of(self.comparisons[0].settings)

    @property
    def runs(self) -> dict[str, dict[int, RunRecord]]:
        """The complete runs of all comparisons, by folder and method."""
        return {
            f"{number}/{method}": dict(runs)
            for number, part in enumerate(self.comparisons)
            for method, runs in part.runs.items()
        }


def summarize(sweep: Sweep) -> SweepSummary:
    """What the runs show, without the conclusion. The cells and the controls are judged together."""
    metric = sweep.metric
    # The reference in the grid is not compared with itself.
    judged = [outcome for outcome in sweep.outcomes if outcome.method != sweep.reference]
    found = differences(
        [minus(outcome.runs, sweep.reference_of(outcome), metric) for outcome in judged],
        [outcome.looks for outcome in judged],
    )
    of_judged = {id(outcome): possible(difference, metric) for outcome, difference in zip(judged, found, strict=True)}
    compared = [
        (outcome.values is not None, replace(outcome.cell(metric), difference=of_judged.get(id(outcome))))
        for outcome in sweep.outcomes
    ]
    runs = [run for of_method in sweep.runs.values() for run in of_method.values()]
    failed: list[Failure] = [failure for part in sweep.comparisons for failure in part.failed]
    settings = [{k: v for k, v in run.config.items() if k not in ("method", "seed")} for run in runs]
    shared = {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)} if settings else {}
    return SweepSummary(
        axes=sweep.axes,
        reference=sweep.reference,
        references=tuple(replace(outcome.cell(metric), method=sweep.reference) for outcome in sweep.references),
        controls=tuple(cell for in_grid, cell in compared if not in_grid),
        cells=tuple(cell for in_grid, cell in compared if in_grid),
        best=_best(sweep),
        effects=_effects(sweep),
        grown=sweep.grown,
        seconds=sum(run.seconds for run in runs),
        **about(sweep.runs, failed, shared),
    )


# Axes along which every method gets better: there is nothing to choose.
MORE_DATA = {"train_size", "data"}


def _best(sweep: Sweep) -> Best | None:
    if MORE_DATA & set(sweep.axes):
        return None
    in_grid = [outcome for outcome in sweep.outcomes if outcome.values is not None]
    seeds = {seed for outcome in in_grid for seed in outcome.runs}
    # Means of other seeds cannot be compared: a combination that lacks one, because it failed, is not in the running.
    grid = [outcome for outcome in in_grid if seeds and set(outcome.runs) == seeds]
    if not grid:
        return None
    # The same training under two combinations is no rival of itself.
    trainings = list({(outcome.method, *outcome.settings.items()): outcome for outcome in grid}.values())
    scores = np.array([[outcome.runs[seed].scores[sweep.metric] for seed in sorted(seeds)] for outcome in trainings])
    best = trainings[int(scores.mean(axis=(1, 2)).argmin())]
    rivals = [outcome for outcome in zip(trainings, shown_worse(scores), strict=True) if outcome[0] is not best]
    return Best(
        values=best.place,
        method=best.method,
        error=best.cell(sweep.metric).error,
        command=best.command,
        rivals=len(rivals),
        not_worse=tuple(outcome.place for outcome, is_worse in rivals if not is_worse),
    )


def _effects(sweep: Sweep) -> tuple[Effect, ...]:
    by_values = [outcome.runs for outcome in sweep.outcomes if outcome.values is not None]
    if not any(len(values) == 2 for values in sweep.axes.values()):
        return ()
    seeds = sorted(set.intersection(*(set(runs) for runs in by_values)))
    scores = [[runs[seed].scores[sweep.metric] for runs in by_values] for seed in seeds]
    if "data" in sweep.axes:
        # Other images each.
        scores = [[of_cell.mean(keepdims=True) for of_cell in of_seed] for of_seed in scores]
    shape = [len(values) for values in sweep.axes.values()]
    # [seeds, cells, images] -> [seeds, images, axes]
    by_seed = np.moveaxis(np.array(scores), 1, 2).reshape(len(seeds), -1, *shape) if seeds else np.empty((0, 0, *shape))
    return effects.effects(by_seed, sweep.axes, ANYTIME if sweep.grown else ONCE)
