"""Runs as a report has them: what each holds, which comparison they belong to, and their scores side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from torchmoments_lab.report.images import Images
from torchmoments_lab.report.summary import Environment, Failure
from torchmoments_lab.settings import Metric, Setting
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Looks, Planned
from torchmoments_lab.statistics.values import LEAST_SEEDS


@dataclass(frozen=True)
class RunRecord:
    """A complete run.

    Args:
        predictions: [images] records of target and predicted.
        scores: of each metric that was asked for, what each image contributes, see `metrics.of_images`.
        epochs: {column of metrics.csv: [epochs]}.
    """

    method: str
    seed: int
    seconds: float
    config: Mapping[str, Setting]
    env: Environment
    predictions: np.ndarray
    scores: Mapping[Metric, np.ndarray]
    epochs: Mapping[str, np.ndarray]

    def value(self, metric: Metric) -> float:
        return float(self.scores[metric].mean())


# {method: {seed: run}}, complete runs alone.
Runs = Mapping[str, Mapping[int, RunRecord]]


@dataclass(frozen=True)
class Event:
    """What was asked for at one time."""

    methods: tuple[str, ...]
    seeds: int
    time: str | None
    command: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """When results are looked at, numbers of seeds, () if there is no plan; and the difference, in points, below which
    none matters."""

    looks: tuple[int, ...] = ()
    margin: float | None = None

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Plan":
        """The one in comparison.json."""
        return cls(tuple(record.get("looks") or ()), record.get("margin"))

    def fits(self, methods: Sequence[str], events: Sequence[Event]) -> bool:
        """Whether it makes sense, and everything was asked for at its looks."""
        planned = not self.looks or (
            list(self.looks) == sorted({look for look in self.looks if type(look) is int and look > 1})
            and all(event.seeds in self.looks for event in events)
            and {method for event in events for method in event.methods} == set(methods)
        )
        return planned and (self.margin is None or (type(self.margin) in (int, float) and 0 < self.margin <= 100))

    def record(self) -> dict[str, Any]:
        """What comparison.json has of it."""
        return {"looks": list(self.looks), "margin": self.margin}

    def __str__(self) -> str:
        looks = f"looks at {', '.join(map(str, self.looks))} seeds" if self.looks else "one look"
        return looks + (f", --stop-at {self.margin:g}" if self.margin is not None else "")


@dataclass(frozen=True)
class Comparison:
    """A comparison: the settings that all runs share, its methods (the first is the reference) and its runs; and what
    is kept of its images, None of one that an earlier version made."""

    name: str
    settings: Mapping[str, Setting]
    history: tuple[Event, ...]
    runs: Runs
    failed: tuple[Failure, ...]
    plan: Plan
    images: Images | None = None

    @property
    def reference(self) -> str:
        return next(iter(self.runs))

    @cached_property
    def missing(self) -> dict[str, tuple[int, ...]]:
        """{method: seeds that were asked for and have no run folder}, without the methods that have them all."""
        there = {(failure.method, failure.seed) for failure in self.failed}
        there |= {(method, seed) for method, runs in self.runs.items() for seed in runs}
        asked = {(method, seed) for event in self.history for method in event.methods for seed in range(event.seeds)}
        found = {method: tuple(sorted(s for m, s in asked - there if m == method)) for method in self.runs}
        return {method: seeds for method, seeds in found.items() if seeds}

    def looks(self, method: str, other: str) -> Looks:
        """How the difference of two methods was looked at while seeds were added."""
        look = self.look(method, other)
        if look is not None:
            return Planned(self.plan.looks, self.plan.looks.index(look))
        return ANYTIME if self.grown(method, other) else ONCE

    def grown(self, method: str, other: str) -> tuple[int, ...]:
        """The numbers of pairs that were asked for one after the other, without a plan; () if once."""
        asked = self._asked(method, other)
        return tuple(asked) if len(asked) > 1 and not self.plan.looks else ()

    def minus(self, method: str, other: str, metric: Metric) -> np.ndarray:
        """The scores of a method minus those of another, [seeds, images]; by a plan, of the last complete look."""
        runs, look = self.runs[method], self.look(method, other)
        if look is not None:
            runs = {seed: run for seed, run in runs.items() if seed < look}
        return minus(runs, self.runs[other], metric)

    def _asked(self, method: str, other: str) -> list[int]:
        """The numbers of pairs that were asked for. With too few there is no interval to look at."""
        asked, found = {method: 0, other: 0}, set()
        for event in self.history:
            asked |= {name: max(asked[name], event.seeds) for name in asked if name in event.methods}
            found.add(min(asked.values()))
        return sorted(pairs for pairs in found if pairs >= LEAST_SEEDS)

    def look(self, method: str, other: str) -> int | None:
        """The last look of the plan whose runs are all there, or failed; the first if none is complete; None without a
        plan."""
        if not self.plan.looks:
            return None
        open_yet = min((seed for name in (method, other) for seed in self.missing.get(name, ())), default=math.inf)
        reached = min(open_yet, max(self._asked(method, other), default=0))
        return max((look for look in self.plan.looks if look <= reached), default=self.plan.looks[0])


# {seed: percent}
Errors = Mapping[int, float]


def values_of(runs: Mapping[int, RunRecord], metric: Metric) -> Errors:
    return {seed: run.value(metric) for seed, run in runs.items()}


def scores_of(runs: Mapping[int, RunRecord], metric: Metric) -> np.ndarray:
    """[seeds, images]; [0, 0] without runs."""
    return np.array([run.scores[metric] for run in runs.values()]) if runs else np.empty((0, 0))


def minus(runs: Mapping[int, RunRecord], others: Mapping[int, RunRecord], metric: Metric) -> np.ndarray:
    """The scores minus those of others, for the seeds that both have: [seeds, images]; [0, 0] if there are none."""
    pairs = [(run, others[seed]) for seed, run in runs.items() if seed in others]
    return np.array([run.scores[metric] - other.scores[metric] for run, other in pairs]) if pairs else np.empty((0, 0))


def seed_differences(runs: Mapping[int, RunRecord], others: Mapping[int, RunRecord], metric: Metric) -> Errors:
    """{seed: the metric minus that of the other}, for the seeds that both have."""
    return {seed: run.value(metric) - others[seed].value(metric) for seed, run in runs.items() if seed in others}
