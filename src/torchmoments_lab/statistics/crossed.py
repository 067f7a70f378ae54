"""Means over seeds and test images, both of which are samples: crossed random effects.

With d[s, i] the score of seed s on image i (of two methods: the difference of their scores), [S, I],

    d[s, i] = mean + a[s] + b[i] + e[s, i]

with independent a, b, e, the mean over all s and i has the variance  var(a) / S + var(b) / I + var(e) / (S I).
The three mean squares of the two-way table estimate it:

    vs = var over s of (mean over i of d) / S         estimates  var(a) / S + var(e) / (S I)
    vi = var over i of (mean over s of d) / I         estimates  var(b) / I + var(e) / (S I)
    ve = sum of squared residuals / ((S - 1) (I - 1)) / (S I)    estimates     var(e) / (S I)

    V  = max(vs, vi, vs + vi - ve)
    df = V^2 / (vs^2 / (S - 1) + vi^2 / (I - 1) + ve^2 / ((S - 1) (I - 1)))      (Satterthwaite)

The maximum keeps V from falling below what seeds alone or images alone say. It is the analysis of readers and cases
in radiology, with seeds as readers and images as cases (Dorfman, Berbaum and Metz 1992), which has no floor at vi and
counts vs alone in df (Hillis 2007).

Scores that are one number a run, [S, 1], have images that are no sample: V = vs, df = S - 1.
"""

from dataclasses import dataclass

import numpy as np

# Not scipy.stats, whose import takes as long as all the rest of a report.
from scipy.special import stdtrit

from torchmoments_lab.statistics.values import LEAST_SEEDS, LEVEL, Estimate, Interval

# Scores are in percent: anything below this is rounding.
_NO_SPREAD = 1e-18


@dataclass(frozen=True)
class Spread:
    """How a mean over [S seeds, I images] varies: vs, vi and ve of the equations above, in squared points."""

    of_seeds: float
    of_images: float
    of_residual: float
    seeds: float
    images: float

    @property
    def variance(self) -> float:
        return max(self.of_seeds, self.of_images, self.of_seeds + self.of_images - self.of_residual)

    @property
    def df(self) -> float:
        """Degrees of freedom of `variance`."""
        seeds, images = self.seeds - 1, max(1, self.images - 1)
        squares = self.of_seeds**2 / seeds + self.of_images**2 / images + self.of_residual**2 / (seeds * images)
        return float(self.variance**2 / squares)

    @property
    def standard_error(self) -> float:
        return float(self.variance**0.5)

    def expected(self, seeds: float, images: float) -> "Spread":
        """What it is expected to be over so many seeds and images."""
        residual = self.of_residual * self.seeds * self.images / (seeds * images)
        of_seeds = max(0.0, self.of_seeds - self.of_residual) * self.seeds / seeds
        of_images = max(0.0, self.of_images - self.of_residual) * self.images / images
        return Spread(of_seeds + residual, of_images + residual, residual, seeds, images)


def spread(scores: np.ndarray) -> Spread | None:
    """Of scores [S, I]; None with fewer than three seeds, or if there is no spread at all."""
    seeds, images = scores.shape
    if seeds < LEAST_SEEDS:
        return None
    mean, of_seeds, of_images = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    vs = float(np.var(of_seeds, ddof=1) / seeds)
    vi = ve = 0.0
    if images > 1:
        vi = float(np.var(of_images, ddof=1) / images)
        residuals = scores - of_seeds[:, None] - of_images + mean
        ve = float(np.sum(residuals**2) / ((seeds - 1) * (images - 1)) / (seeds * images))
    found = Spread(vs, vi, ve, seeds, images)
    return found if found.variance > _NO_SPREAD else None


def estimate(scores: np.ndarray) -> Estimate:
    """The mean of scores [S, I] with the interval mean -+ t(0.975, df) sqrt(V)."""
    if scores.size == 0:
        return Estimate(None, None, 0)
    mean, found = float(scores.mean()), spread(scores)
    return Estimate(mean, None if found is None else interval(mean, found.standard_error, found.df), len(scores))


def over_seeds(values: np.ndarray) -> Estimate:
    """The mean of values [S], one a seed, with the interval mean -+ t(0.975, S - 1) s / sqrt(S)."""
    return estimate(np.asarray(values, float).reshape(-1, 1))


def pointwise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean over seeds of [seeds, epochs], and half of its 95% t interval at each epoch; None if there are too few."""
    seeds = len(values)
    mean = values.mean(axis=0)
    if seeds < LEAST_SEEDS:
        return mean, None
    return mean, stdtrit(seeds - 1, 1 - LEVEL / 2) * values.std(axis=0, ddof=1) / seeds**0.5


def interval(mean: float, standard_error: float, df: float, level: float = LEVEL) -> Interval:
    half = -float(stdtrit(df, level / 2)) * standard_error
    return mean - half, mean + half
