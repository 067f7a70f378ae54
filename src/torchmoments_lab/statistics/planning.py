"""How many seeds or test images a difference needs."""

import math
from collections.abc import Callable

from scipy.special import ndtr, ndtri

from torchmoments_lab.statistics.crossed import Spread
from torchmoments_lab.statistics.looks import Planned

_POWER = 0.8
# Beyond it the answer is never.
_MOST = 100_000_000


def seeds_needed(of: Spread, points: float, critical: float) -> int | None:
    """Seeds, on as many test images as now, with which a difference of so many points, divided by its standard error,
    is beyond the critical value in 80% of cases; None: never."""
    return _needed(points, critical, lambda n: of.expected(n, of.images).variance)


def images_needed(of: Spread, points: float, critical: float) -> int | None:
    """Test images, with as many seeds as now; None: never, or they are no sample."""
    return None if of.images == 1 else _needed(points, critical, lambda n: of.expected(of.seeds, n).variance)


def _needed(points: float, critical: float, variance: Callable[[float], float]) -> int | None:
    wanted = (points / (critical + float(ndtri(_POWER)))) ** 2
    # The variance is (something / n) + what stays.
    stays = variance(math.inf)
    if stays >= wanted:
        return None
    needed = (variance(1) - stays) / (wanted - stays)
    return math.ceil(needed) if needed <= _MOST else None


def chance(mean: float, of: Spread, plan: Planned, level: float, margin: float | None = None) -> float:
    """The chance that a plan ends with a decision, if the true difference is where the present 80% interval makes that
    likeliest: a difference that is shown, or one that is shown to be within the margin.

    With V the present variance and W that at the last look, the mean at the last look is W / V of the present one and
    1 - W / V of what is added; given the true difference d, normal with mean  W / V mean + (1 - W / V) d  and variance
    W (1 - W / V).
    """
    mean, at_last = abs(mean), of.expected(plan.looks[-1], of.images)
    last = at_last.variance
    share = min(1.0, last / of.variance)
    half = Planned(plan.looks, len(plan.looks) - 1).critical(level, at_last) * last**0.5
    reach = float(ndtri(0.9)) * of.standard_error
    deviation = max((last * (1 - share)) ** 0.5, 1e-12)

    def between(low: float, high: float, truth: float) -> float:
        expected = share * mean + (1 - share) * truth
        return float(ndtr((high - expected) / deviation) - ndtr((low - expected) / deviation))

    shown = 1 - between(-half, half, mean + reach)
    room = 0.0 if margin is None else margin - half
    return shown if room <= 0 else max(shown, between(-room, room, max(0.0, mean - reach)))
