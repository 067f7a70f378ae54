"""What is computed of runs: the values that reports, figures, the terminal and JSON share.

Errors are in percent, differences in percentage points; below 0 a method is better than what it is compared with. Their
intervals are for other seeds and other test images, see `statistics.crossed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torchmoments_lab.metrics import NAMES
from torchmoments_lab.settings import Metric, Setting
from torchmoments_lab.statistics.values import Difference, Estimate, Outcome
from torchmoments_lab.typed import counted


def metric_of(settings: Mapping[str, Setting]) -> Metric:
    """The metric that is compared."""
    return cast(Metric, settings.get("metric", "error"))


# The outcomes that more seeds are not needed for.
SETTLED: tuple[Outcome, ...] = ("gain", "harm", "no difference that matters")
Environment = Mapping[str, str | int]


@dataclass(frozen=True)
class Failure:
    """A run that failed, or whose folder is damaged."""

    method: str
    seed: int
    reason: str

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed} failed: {self.reason.removesuffix('.')}."


# Reasons that a conclusion names, each with one run.
_REASONS = 3


def failures(failed: Sequence[Failure]) -> list[str]:
    """A sentence for each of the first reasons, and one for the rest."""
    of_reason: dict[str, list[Failure]] = {}
    for failure in failed:
        of_reason.setdefault(failure.reason, []).append(failure)
    found = [
        str(first)
        if not others
        else f"{counted(1 + len(others), 'run')} failed, all for one reason; the first: {first}"
        for first, *others in list(of_reason.values())[:_REASONS]
    ]
    rest = sum(map(len, list(of_reason.values())[_REASONS:]))
    return [*found, *([f"{counted(rest, 'more run')} failed; the report has their reasons."] if rest else [])]


@dataclass(frozen=True, kw_only=True)
class About:
    """What the summaries of all commands say of their runs: the settings they share, how many images their errors are
    of (None without a complete run), whether their intervals are for other images too, the environments they come from,
    those that failed; the conclusion; and the metric of always naming the most frequent class of the images (None of a
    metric of probabilities)."""

    settings: Mapping[str, Setting]
    images: int | None
    covers_images: bool
    environments: tuple[Environment, ...]
    failed: tuple[Failure, ...]
    conclusion: tuple[str, ...] = ()
    chance: float | None = None

    @property
    def metric(self) -> Metric:
        return metric_of(self.settings)

    @property
    def metric_name(self) -> str:
        """The metric in words; lower is better."""
        return NAMES[self.metric]

    @property
    def unit(self) -> str:
        return "1/100 nat" if self.metric == "log-loss" else "%"

    @property
    def split(self) -> str:
        """The images that errors are of: "test" or "validation"."""
        return str(self.settings.get("evaluate", "test"))

    def on_runs(self) -> list[str]:
        """Sentences on test images, environments and failures, which end every conclusion."""
        many = f"The runs come from {len(self.environments)} environments, see env.json in their folders."
        return [*self.on_images(), *[many] * (len(self.environments) > 1), *failures(self.failed)]

    def on_images(self) -> list[str]:
        """What is to be said if the intervals are not for other images, too."""
        alone = "A class has a single one of the images, so the intervals are for these images alone."
        return [] if self.covers_images else [alone]


@dataclass(frozen=True)
class Method:
    """The complete runs of a method.

    Args:
        metrics: the error first.
        collapsed: seeds whose error is far from that of the others.
        mixed: percentage of the batches in which something was mixed; None if the runs do not tell.
    """

    metrics: Mapping[str, Estimate]
    seconds_mean: float | None
    collapsed: tuple[int, ...]
    mixed: float | None = None


@dataclass(frozen=True)
class Needed:
    """What shows a difference of so many points with 80% power, all else as now. None: never.

    Args:
        seeds: their number on the same test images.
        images: number of test images with as many seeds; None also if the images are no sample.
    """

    points: float
    seeds: int | None
    images: int | None


@dataclass(frozen=True)
class Paired:
    """A method minus the reference, paired by seed.

    Args:
        metrics: the error first.
        slowdown: geometric mean over seeds of seconds / the reference's seconds.
        times_as_wide_unpaired: the interval without pairing, as a multiple of this one.
        trimmed: the difference without the lowest and highest fifth of the seeds, if one collapsed.
        needed: to show a difference that matters.
        look: by a plan, the number of seeds that is judged.
        hopeless: nothing is shown yet, and the planned seeds that are left are unlikely to change that.
        grown: numbers of seeds that were asked for one after the other, without a plan; () if once.
        times_as_wide_grown: the interval, as a multiple of what it would be if the last number had been the first.
    """

    metrics: Mapping[str, Difference]
    slowdown: Estimate
    times_as_wide_unpaired: float | None = None
    trimmed: Estimate | None = None
    needed: Needed | None = None
    look: int | None = None
    hopeless: bool = False
    grown: tuple[int, ...] = ()
    times_as_wide_grown: float | None = None


@dataclass(frozen=True)
class BeyondLabels:
    """A MoEx beside its labels alone: their share of its gain, and the MoEx minus them, judged together with the others
    of a report."""

    labels: str
    difference: Difference
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class Summary(About):
    """A comparison. Methods by their specs as typed; `paired` has all but the reference, the first.

    Args:
        beyond_labels: {spec of a MoEx: it beside its labels}, if the labels were trained too.
        missing: {spec: seeds that were asked for and not trained yet}.
        looks: the numbers of seeds at which results were to be looked at; () if there was no plan.
        margin: a difference of fewer points does not matter.
    """

    reference: str
    methods: Mapping[str, Method]
    paired: Mapping[str, Paired]
    beyond_labels: Mapping[str, BeyondLabels]
    missing: Mapping[str, tuple[int, ...]]
    looks: tuple[int, ...]
    margin: float | None

    @property
    def errors(self) -> dict[str, Estimate]:
        """The metric that is compared, of each method."""
        return {name: method.metrics[self.metric] for name, method in self.methods.items()}

    @property
    def differences(self) -> dict[str, Difference]:
        """The same, minus that of the reference."""
        return {name: entry.metrics[self.metric] for name, entry in self.paired.items()}

    @property
    def comparisons(self) -> int:
        """How many differences are judged together, those without runs yet too."""
        return len(self.paired)

    def is_open(self, method: str) -> bool:
        """Whether the plan has looks left for a method that is neither decided nor hopeless."""
        entry = self.paired[method]
        decided = self.differences[method].outcome in SETTLED or entry.hopeless
        return entry.look is not None and not decided and (entry.look < self.looks[-1] or method in self.missing)


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
        not_worse: values of those that are not shown to be worse, see `statistics.several.shown_worse`.
    """

    values: Mapping[str, str]
    method: str
    error: Estimate
    command: str
    rivals: int
    not_worse: tuple[Mapping[str, str], ...]


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
        grown: whether seeds were added later, without a plan.
        seconds: of training, all runs together.
    """

    axes: Mapping[str, tuple[str, ...]]
    reference: str
    references: tuple[Cell, ...]
    controls: tuple[Cell, ...]
    cells: tuple[Cell, ...]
    best: Best | None
    effects: tuple[Effect, ...]
    grown: bool
    seconds: float

    @property
    def has_differences(self) -> bool:
        """Whether there is more than the reference, with several settings."""
        return any(cell.difference is not None for cell in (*self.controls, *self.cells))


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
        minus_chance: {norm: the moments minus chance}.
        grown: whether seeds were added later, without a plan.
    """

    norms: tuple[str, ...]
    views: Mapping[str, View]
    minus_chance: Mapping[str, Difference]
    grown: bool


AnySummary = Summary | SweepSummary | ProbeSummary
