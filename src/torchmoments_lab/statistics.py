"""Statistics of paired runs. Errors and differences are in percent; seeds are the sample.

An interval or a p that is undefined (one seed, or no spread at all) is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

# Not scipy.stats, whose import takes as long as all the rest of a report.
from scipy.special import stdtr, stdtrit

Interval = tuple[float, float]
# {seed: error}
Errors = Mapping[int, float]
Outcome = Literal["gain", "harm", "not shown", "unknown"]

LEVEL = 0.05
# Errors are counts of images in percent: anything below this is rounding.
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds, or a ratio of two, with its 95% interval."""

    mean: float | None
    ci95: Interval | None
    n: int


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean of paired differences, the p of the paired t-test that it is 0, and that p adjusted for all comparisons
    of a report."""

    p_value: float | None
    p_holm: float | None = None

    @property
    def outcome(self) -> Outcome:
        """By the adjusted p; "unknown" if there is none. Errors: below 0 is a gain."""
        if self.p_holm is None or self.mean is None:
            return "unknown"
        if self.p_holm >= LEVEL:
            return "not shown"
        return "gain" if self.mean < 0 else "harm"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of values, one a seed, with the interval mean -+ t(0.975, n - 1) * s / sqrt(n); s divides by n - 1."""
    n = len(values)
    if n == 0:
        return Estimate(None, None, 0)
    mean, standard_error = float(np.mean(values)), _standard_error(values)
    return Estimate(mean, None if standard_error is None else _interval(mean, standard_error, n), n)


def difference(values: Sequence[float]) -> Difference:
    """`estimate` of differences, one a seed, with  p = 2 P(T > |mean| sqrt(n) / s)."""
    found, standard_error = estimate(values), _standard_error(values)
    if found.mean is None or standard_error is None:
        return Difference(found.mean, None, found.n, None)
    p_value = float(2 * stdtr(found.n - 1, -abs(found.mean) / standard_error))
    return Difference(found.mean, found.ci95, found.n, p_value)


def seed_differences(errors: Errors, others: Errors) -> dict[int, float]:
    """{seed: errors - others}, for the seeds that both have."""
    return {seed: error - others[seed] for seed, error in errors.items() if seed in others}


def paired(errors: Errors, others: Errors) -> Difference:
    """The difference between two methods, paired by seed."""
    return difference(list(seed_differences(errors, others).values()))


def interval_with_images(differences: np.ndarray) -> Interval | None:
    """95% interval of the mean difference if the test images are a sample too.

        d[s, i]   difference of seed s on test image i: 100, 0 or -100
        SE^2    = var over s of (mean over i of d) / S  +  var over i of (mean over s of d) / I

    and mean -+ t(0.975, S - 1) * SE. Both variances divide by their number - 1.

    Args:
        differences: [S seeds, I images].

    Returns:
        None with one seed, or if the seeds have no spread.
    """
    seeds, images = differences.shape
    of_seeds = differences.mean(axis=1)
    if seeds < 2 or images < 2 or np.ptp(of_seeds) < _NO_SPREAD:
        return None
    squared = np.var(of_seeds, ddof=1) / seeds + np.var(differences.mean(axis=0), ddof=1) / images
    return _interval(float(of_seeds.mean()), float(squared**0.5), seeds)


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """mean(parts) / mean(wholes) of pairs, one a seed, with its 95% interval by Fieller's theorem.

    The interval holds each r for which mean(parts - r * wholes) is not shown to differ from 0 by the paired t-test. It
    is None if that is true of arbitrarily large r, because the mean of the wholes itself may be 0; and if there is no
    spread.
    """
    n = len(parts)
    if n == 0 or np.mean(wholes) == 0:
        return Estimate(None, None, n)
    a, b = float(np.mean(parts)), float(np.mean(wholes))
    if n == 1:
        return Estimate(a / b, None, n)
    squared_t = float(stdtrit(n - 1, 0.975)) ** 2
    covariances = np.cov(parts, wholes) / n * squared_t
    square, product, rest = b**2 - covariances[1, 1], a * b - covariances[0, 1], a**2 - covariances[0, 0]
    under_root = product**2 - square * rest
    if square <= 0 or under_root < _NO_SPREAD:
        return Estimate(a / b, None, n)
    root = under_root**0.5
    return Estimate(a / b, (float((product - root) / square), float((product + root) / square)), n)


def pointwise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean over seeds of [seeds, epochs], and half of its 95% t interval at each epoch; None with one seed."""
    seeds = len(values)
    mean = values.mean(axis=0)
    if seeds < 2:
        return mean, None
    return mean, stdtrit(seeds - 1, 0.975) * values.std(axis=0, ddof=1) / seeds**0.5


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment: the k-th smallest of m becomes max over j <= k of min(1, (m - j + 1) p_j), in the given order.

    None stays None and is not counted in m.
    """
    defined = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p))
        adjusted[index] = largest
    return adjusted


def with_holm(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, each with its p adjusted for all of them."""
    adjusted = holm([difference.p_value for difference in differences])
    return [replace(difference, p_holm=p) for difference, p in zip(differences, adjusted, strict=True)]


def _standard_error(values: Sequence[float]) -> float | None:
    if len(values) < 2 or np.ptp(values) < _NO_SPREAD:
        return None
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def _interval(mean: float, standard_error: float, n: int) -> Interval:
    half = float(stdtrit(n - 1, 0.975)) * standard_error
    return mean - half, mean + half
