"""What is computed of runs: the values that reports, figures, the terminal and JSON share.

Errors are in percent, differences in percentage points; below 0 a method is better than what it is compared with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torchmoments_lab.metrics import NAMES
from torchmoments_lab.settings import Metric, Setting
from torchmoments_lab.statistics import Difference, Estimate, Interval

Environment = Mapping[str, str | int]


@dataclass(frozen=True)
class Failure:
    """A run that failed, or whose folder is damaged."""

    method: str
    seed: int
    reason: str

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed} failed: {self.reason.removesuffix('.')}."


@dataclass(frozen=True, kw_only=True)
class About:
    """What the summaries of all commands say of their runs: the settings they share, how many images their errors are
    of (None without a complete run), the environments they come from, those that failed; and the conclusion."""

    settings: Mapping[str, Setting]
    images: int | None
    environments: tuple[Environment, ...]
    failed: tuple[Failure, ...]
    conclusion: tuple[str, ...] = ()

    @property
    def metric(self) -> Metric:
        return cast(Metric, self.settings.get("metric", "error"))

    @property
    def metric_name(self) -> str:
        """The metric in words: an error in percent, lower is better."""
        return NAMES[self.metric]

    @property
    def split(self) -> str:
        """The images that errors are of: "test" or "validation"."""
        return str(self.settings.get("evaluate", "test"))

    def on_runs(self) -> list[str]:
        """Sentences on environments and failures, which end every conclusion."""
        many = f"The runs come from {len(self.environments)} environments, see env.json in their folders."
        return [many] * (len(self.environments) > 1) + [str(failure) for failure in self.failed]


@dataclass(frozen=True)
class Method:
    """The complete runs of a method."""

    error: Estimate
    seconds_mean: float | None


@dataclass(frozen=True)
class Paired:
    """A method minus the reference, paired by seed.

    Args:
        slowdown: geometric mean over seeds of seconds / the reference's seconds.
        difference_ci95_with_images: the interval if the test images are a sample too. None if they are 1,000 or more,
            or the metric is no mean over images.
    """

    difference: Difference
    slowdown: Estimate
    difference_ci95_with_images: Interval | None


@dataclass(frozen=True)
class BeyondLabels:
    """A MoEx beside its labels alone: their share of its gain, and the MoEx minus them."""

    labels: str
    difference: Difference
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class Summary(About):
    """A comparison. Methods by their specs as typed; `paired` has all but the reference, the first.

    Args:
        beyond_labels: {spec of a MoEx: it beside its labels}, if the labels were trained too.
        missing: {spec: seeds that were asked for and not trained yet}.
    """

    reference: str
    methods: Mapping[str, Method]
    paired: Mapping[str, Paired]
    beyond_labels: Mapping[str, BeyondLabels]
    missing: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cell:
    """One method in a sweep.

    Args:
        values: {axis: value} of a cell in the grid; of what is trained beside it, the training settings alone.
        difference: to the reference with the same training settings; None of the reference itself.
    """

    values: Mapping[str, str]
    method: str
    error: Estimate
    difference: Difference | None


@dataclass(frozen=True)
class Best:
    """The cell with the lowest mean error.

    Args:
        command: trains it and the reference again, evaluated on the test images.
        rivals: number of other trainings in the grid.
        not_worse: how many of them are not shown to be worse (paired t-test, Holm over all pairs of cells, because the
            best was chosen among them).
    """

    values: Mapping[str, str]
    method: str
    error: Estimate
    command: str
    rivals: int
    not_worse: int


@dataclass(frozen=True)
class Effect:
    """A main effect of an axis with two values, averaged over all other axes, or the interaction of two."""

    axes: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    effect: Difference

    def __str__(self) -> str:
        """As in "lam: 0.9 → 1"; an interaction as in "lam x grad"."""
        return " x ".join(self.axes) if len(self.axes) > 1 else f"{self.axes[0]}: {self.first[0]} → {self.second[0]}"


@dataclass(frozen=True, kw_only=True)
class SweepSummary(About):
    """A sweep: the reference for each combination of training settings, the methods beside the grid, and its cells.

    Args:
        best: None if training sizes or data sets are compared, or no cell is complete.
        effects: empty if no axis has two values.
        seconds: of training, all runs together.
    """

    axes: Mapping[str, tuple[str, ...]]
    reference: str
    references: tuple[Cell, ...]
    controls: tuple[Cell, ...]
    cells: tuple[Cell, ...]
    best: Best | None
    effects: tuple[Effect, ...]
    seconds: float


@dataclass(frozen=True)
class View:
    """What a network learned that is given one part of the features; `difference`: minus one that is given them all."""

    error: Estimate
    difference: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeSummary(About):
    """A probe.

    Args:
        views: by method spec: moments:norm=pono, normalized:norm=pono, features; "none" is the network trained as
            usual, "chance" always naming the most frequent class of the training images.
        minus_chance_ci95: {norm: 95% interval of the moments minus chance, for other test images too}.
    """

    norms: tuple[str, ...]
    views: Mapping[str, View]
    minus_chance_ci95: Mapping[str, Interval | None]


AnySummary = Summary | SweepSummary | ProbeSummary
