"""Statistics of paired runs. Errors and differences are in percent; seeds are the sample.

Where an interval or a p is undefined (one seed, or no spread at all), it is None.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Not scipy.stats, whose import takes as long as all the rest of a report.
from scipy.special import stdtr, stdtrit

Interval = tuple[float, float]

# Errors are counts of images in percent: anything below this is rounding.
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its 95% t interval, and the p of the paired t-test that the mean is 0."""

    mean: float | None
    ci95: Interval | None
    p_value: float | None
    n: int

    def named(self, what: str) -> dict[str, Any]:
        """The mean and its interval under the names that a summary.json has: WHAT_mean, WHAT_ci95."""
        return {f"{what}_mean": self.mean, f"{what}_ci95": self.ci95}


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of values, one a seed, with the interval mean -+ t(0.975, n - 1) * s / sqrt(n); s divides by n - 1.

    Of differences between two methods, seed by seed, it is the paired t-test:  p = 2 P(T > |mean| sqrt(n) / s).
    """
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    mean = float(np.mean(values))
    if n == 1 or np.ptp(values) < _NO_SPREAD:
        return Estimate(mean, None, None, n)
    standard_error = float(np.std(values, ddof=1)) / n**0.5
    p_value = float(2 * stdtr(n - 1, -abs(mean) / standard_error))
    return Estimate(mean, _interval(mean, standard_error, n), p_value, n)


def interval_with_images(differences: np.ndarray) -> Interval | None:
    """95% interval of the mean difference when the test images are a sample too.

        d[s, i]   difference of seed s on test image i: 100, 0 or -100
        SE^2    = var over s of (mean over i of d) / S  +  var over i of (mean over s of d) / I

    and mean -+ t(0.975, S - 1) * SE. Both variances divide by their number - 1.

    Args:
        differences: [S seeds, I images].

    Returns:
        None with one seed, or where the seeds have no spread.
    """
    seeds, images = differences.shape
    of_seeds = differences.mean(axis=1)
    if seeds < 2 or images < 2 or np.ptp(of_seeds) < _NO_SPREAD:
        return None
    squared = np.var(of_seeds, ddof=1) / seeds + np.var(differences.mean(axis=0), ddof=1) / images
    return _interval(float(of_seeds.mean()), float(squared**0.5), seeds)


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float | None, Interval | None]:
    """mean(parts) / mean(wholes) of pairs, one a seed, with its 95% interval by Fieller's theorem.

    The interval holds each r for which mean(parts - r * wholes) is not shown to differ from 0 by the paired t-test. It
    is None where that is true of arbitrarily large r, because the mean of the wholes itself may be 0; and where there
    is no spread.
    """
    n = len(parts)
    if n == 0 or np.mean(wholes) == 0:
        return None, None
    a, b = float(np.mean(parts)), float(np.mean(wholes))
    if n == 1:
        return a / b, None
    squared_t = float(stdtrit(n - 1, 0.975)) ** 2
    covariances = np.cov(parts, wholes) / n * squared_t
    square, product, rest = b**2 - covariances[1, 1], a * b - covariances[0, 1], a**2 - covariances[0, 0]
    under_root = product**2 - square * rest
    if square <= 0 or under_root < _NO_SPREAD:
        return a / b, None
    root = under_root**0.5
    return a / b, (float((product - root) / square), float((product + root) / square))


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
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = largest
    return adjusted


def add_holm(entries: Iterable[dict[str, Any]]) -> None:
    """Give each entry of a summary "p_holm": its "p_value", adjusted for all of them."""
    entries = list(entries)
    for entry, adjusted in zip(entries, holm([entry["p_value"] for entry in entries]), strict=True):
        entry["p_holm"] = adjusted


def _interval(mean: float, standard_error: float, n: int) -> Interval:
    half = float(stdtrit(n - 1, 0.975)) * standard_error
    return mean - half, mean + half
