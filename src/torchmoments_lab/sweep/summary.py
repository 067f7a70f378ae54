"""summary.json of a sweep, from its runs. Errors are in percent, differences in points; below 0 is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from torchmoments_lab.report.reading import Comparison
from torchmoments_lab.report.summary import distinct, failures
from torchmoments_lab.statistics import add_holm, estimate, holm
from torchmoments_lab.sweep.effects import effects
from torchmoments_lab.sweep.grid import Axis, Cell, Values

# {seed: error}
Errors = Mapping[int, float]


@dataclass(frozen=True)
class Outcome:
    """One method with one combination of training settings, and its errors.

    Args:
        cell: None beside the grid.
        command: trains it and the reference again, judged on the test images.
    """

    word: str
    settings: Values
    cell: Cell | None
    errors: Errors
    command: str = ""


@dataclass(frozen=True)
class Sweep:
    """The axes, the reference's errors for each combination of training settings, and everything compared with them."""

    axes: Sequence[Axis]
    reference: str
    references: Sequence[Outcome]
    outcomes: Sequence[Outcome]
    comparisons: Sequence[Comparison]

    def reference_of(self, outcome: Outcome) -> Errors:
        return next(found.errors for found in self.references if found.settings == outcome.settings)


def summarize(sweep: Sweep) -> dict[str, Any]:
    """What the runs show.

    Returns:
        axes: {name: values}
        reference: its word
        references: [{settings, error_mean, error_ci95, n}], one for each combination of training settings
        cells, controls: [{values or settings, method, error_mean, error_ci95, difference_mean, difference_ci95,
            p_value, p_holm, n}]; the difference is to the reference with the same settings and seeds; p_holm counts
            cells and controls
        best: {values, method, error_mean, error_ci95, n, command, rivals, not_worse}: the cell with the lowest mean
            error, the command that judges it, how many others there are, and how many of them are not shown to be worse
            (paired t, Holm over all pairs of cells, because the best was chosen among them, 0.05). Cells without all
            seeds are left out. None where training sizes or data sets are compared
        effects: see `effects.effects`; empty where no axis has two values
        images: number that the errors are of. settings: what all runs share. environments, failed: as in a comparison.
        seconds: of training, all runs together

        What is undefined is None.
    """
    compared = [_entry(outcome, sweep.reference_of(outcome)) for outcome in sweep.outcomes]
    add_holm(compared)
    in_grid = [outcome.cell is not None for outcome in sweep.outcomes]
    return {
        "axes": {axis.name: list(axis.values) for axis in sweep.axes},
        "reference": sweep.reference,
        "references": [{"settings": found.settings, **_error(found.errors)} for found in sweep.references],
        "cells": [entry for entry, inside in zip(compared, in_grid, strict=True) if inside],
        "controls": [entry for entry, inside in zip(compared, in_grid, strict=True) if not inside],
        "best": _best(sweep),
        "effects": _effects(sweep),
        **_about([run for part in sweep.comparisons for of_word in part.runs.values() for run in of_word.values()]),
    }


def _about(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs have in common, and those that failed."""
    complete = [run for run in runs if "failed" not in run]
    settings = [{k: v for k, v in run["config"].items() if k not in ("method", "seed")} for run in complete]
    shared = {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)} if settings else {}
    return {
        "images": len(complete[0]["predictions"]) if complete else None,
        "settings": shared,
        "environments": distinct([run["env"] for run in complete]),
        "seconds": sum(run["seconds"] for run in complete),
        "failed": failures(runs),
    }


def _error(errors: Errors) -> dict[str, Any]:
    error = estimate(list(errors.values()))
    return {**error.named("error"), "n": error.n}


def _entry(outcome: Outcome, reference: Errors) -> dict[str, Any]:
    difference = estimate(paired(outcome.errors, reference))
    place = {"settings": outcome.settings} if outcome.cell is None else {"values": outcome.cell.values}
    return {
        **place,
        "method": outcome.word,
        **_error(outcome.errors),
        **difference.named("difference"),
        "p_value": difference.p_value,
    }


def paired(errors: Errors, others: Errors) -> list[float]:
    """errors - others, for the seeds that both have."""
    return [error - others[seed] for seed, error in errors.items() if seed in others]


def _best(sweep: Sweep) -> dict[str, Any] | None:
    # With more images every method is better: nothing to choose.
    if {"train_size", "data"} & {axis.name for axis in sweep.axes}:
        return None
    in_grid = [outcome for outcome in sweep.outcomes if outcome.cell is not None]
    seeds = {seed for outcome in in_grid for seed in outcome.errors}
    # Means of other seeds cannot be compared: a combination that lacks one, because it failed, is not in the running.
    grid = [outcome for outcome in in_grid if seeds and set(outcome.errors) == seeds]
    if not grid:
        return None
    # The same training under two combinations is no rival of itself.
    trainings = list({(outcome.word, *outcome.settings.items()): outcome for outcome in grid}.values())
    best = min(trainings, key=lambda outcome: float(np.mean(list(outcome.errors.values()))))
    # Adjusted over all pairs: any of them might have become the best and a rival.
    pairs = list(combinations(trainings, 2))
    p_values = holm([estimate(paired(one.errors, other.errors)).p_value for one, other in pairs])
    of_best = [p for pair, p in zip(pairs, p_values, strict=True) if best in pair]
    assert best.cell is not None
    return {
        "values": best.cell.values,
        "method": best.word,
        **_error(best.errors),
        "command": best.command,
        "rivals": len(of_best),
        "not_worse": sum(p is None or p >= 0.05 for p in of_best),
    }


def _effects(sweep: Sweep) -> list[dict[str, Any]]:
    by_values = {tuple(o.cell.values.values()): o.errors for o in sweep.outcomes if o.cell is not None}
    if not any(len(axis.values) == 2 for axis in sweep.axes):
        return []
    seeds = sorted(set.intersection(*(set(errors) for errors in by_values.values())))
    shape = [len(axis.values) for axis in sweep.axes]
    errors = np.array([[of_cell[seed] for of_cell in by_values.values()] for seed in seeds])
    return effects(errors.reshape(len(seeds), *shape), sweep.axes)
