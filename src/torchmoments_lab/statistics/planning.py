"""How many seeds or test images a difference needs."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri

from torchmoments_lab.statistics.crossed import Spread
from torchmoments_lab.statistics.looks import Looks, Planned

_POWER = 0.8
# Beyond it the answer is never.
_MOST = 2**27


def seeds_needed(of: Spread, points: float, looks: Looks, level: float) -> int | None:
    """Seeds in all, on as many test images as now, with which a difference of so many points is shown in 80% of cases.

    Those that are there, if they are enough; if they are not, more seeds are one more look. None: never.
    """
    if power(points, of, looks, level) >= _POWER:
        return int(of.seeds)
    return _least(int(of.seeds), lambda n: power(points, of.expected(n, of.images), looks.later, level))


def images_needed(of: Spread, points: float, looks: Looks, level: float) -> int | None:
    """Test images in all, with as many seeds as now; None: never, or they are no sample."""
    if of.images == 1:
        return None
    if power(points, of, looks, level) >= _POWER:
        return int(of.images)
    return _least(int(of.images), lambda n: power(points, of.expected(of.seeds, n), looks, level))


def power(points: float, of: Spread, looks: Looks, level: float) -> float:
    """The chance that a difference of so many points is shown, in its direction: P(T > critical), where T has a
    noncentral t distribution with the noncentrality  points / sqrt(V),

        T = (Z + points / sqrt(V)) / s        Z normal, df s^2 chi-squared
    """
    s = (2 * gammaincinv(of.df / 2, (np.arange(512) + 0.5) / 512) / of.df) ** 0.5
    return float(ndtr(points / of.standard_error - looks.critical(level, of) * s).mean())


def _least(now: int, power_with: Callable[[int], float]) -> int | None:
    """The smallest number above `now` with enough power, which grows with it."""
    numbers = range(now + 1, _MOST)
    found = bisect_left(numbers, _POWER, key=power_with)
    return numbers[found] if found < len(numbers) else None


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
    half = plan.later.critical(level, at_last) * last**0.5
    reach = float(ndtri(0.9)) * of.standard_error
    deviation = max((last * (1 - share)) ** 0.5, 1e-12)

    def between(low: float, high: float, truth: float) -> float:
        expected = share * mean + (1 - share) * truth
        return float(ndtr((high - expected) / deviation) - ndtr((low - expected) / deviation))

    shown = 1 - between(-half, half, mean + reach)
    room = 0.0 if margin is None else margin - half
    return shown if room <= 0 else max(shown, between(-room, room, max(0.0, mean - reach)))
