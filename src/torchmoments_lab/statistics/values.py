"""What is found of runs: a mean and its interval, a difference and whether it is shown."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

Interval = tuple[float, float]
Outcome = Literal["gain", "harm", "no difference that matters", "not shown", "unknown"]

LEVEL = 0.05
# Of an interval. With two, chance decides whether they are far apart, and with that the width: 86% covered.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds, or a ratio of two, with its 95% interval."""

    mean: float | None
    ci95: Interval | None
    n: int


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean of paired differences. Errors: below 0 is a gain.

    Args:
        ci95, p_value: of this difference alone, looked at once; df are the degrees of freedom of both.
        ci95_adjusted, p_adjusted: hold for all differences of a report together, and however planned or unplanned
            looks at it were. The interval leaves out 0 exactly if p_adjusted is below 0.05.
        ci95_these_images: the adjusted interval for other seeds on these images alone.
        outcome: by the adjusted interval.
    """

    df: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    ci95_adjusted: Interval | None = None
    ci95_these_images: Interval | None = None
    outcome: Outcome = "unknown"


Found = TypeVar("Found", bound=Estimate)


def clipped(found: Found, low: float, high: float) -> Found:
    """The same with no interval beyond what can be."""
    intervals = {name: value for name, value in vars(found).items() if name.startswith("ci95") and value is not None}
    within: Any = {name: (max(low, ends[0]), min(high, ends[1])) for name, ends in intervals.items()}
    return replace(found, **within)
