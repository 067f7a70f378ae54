"""The mean of one difference over several data sets, which are a sample of data sets: random effects.

With y[k] the difference on data set k and s[k] its standard error,

    y[k] = mean + u[k] + e[k],    var(u) = tau^2,    var(e[k]) = s[k]^2

tau^2 is the root of  sum of (y - mean)^2 / (tau^2 + s^2) = K - 1  (Paule and Mandel 1982), or 0 if there is none, the
mean has the weights w = 1 / (tau^2 + s^2), and its interval is

    mean -+ t(0.975, K - 1) sqrt(max(1, q) / sum of w),    q = sum of w (y - mean)^2 / (K - 1)

of Hartung and Knapp (2001), with q no smaller than 1 (Roever, Knapp and Friede 2015): few data sets that agree by
chance would make it too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from torchmoments_lab.statistics.crossed import interval
from torchmoments_lab.statistics.values import Interval

# With two, chance decides how far apart data sets seem to be.
LEAST_DATA_SETS = 3


@dataclass(frozen=True)
class Pooled:
    """A mean over n data sets.

    Args:
        tau: standard deviation of the true differences between data sets.
        p_value: of no difference on average.
    """

    mean: float
    ci95: Interval
    tau: float
    p_value: float
    n: int


def pooled(means: Sequence[float], standard_errors: Sequence[float]) -> Pooled:
    """The mean over data sets.

    Raises:
        ValueError: fewer than three data sets, or a standard error that is not above 0.
    """
    y, s = np.array(means, float), np.array(standard_errors, float)
    if len(y) < LEAST_DATA_SETS or not (s > 0).all():
        raise ValueError(f"a mean over data sets needs three or more, each with a standard error; got {len(y)}.")
    variance = _between(y, s**2)
    weights = 1 / (variance + s**2)
    mean = float((weights * y).sum() / weights.sum())
    df = len(y) - 1
    standard_error = float((max(1.0, (weights * (y - mean) ** 2).sum() / df) / weights.sum()) ** 0.5)
    p = 2 * float(stdtr(df, -abs(mean) / standard_error))
    return Pooled(mean, interval(mean, standard_error, df), variance**0.5, p, len(y))


def _between(y: np.ndarray, of_each: np.ndarray) -> float:
    """tau^2"""

    def excess(variance: float) -> float:
        weights = 1 / (variance + of_each)
        mean = (weights * y).sum() / weights.sum()
        return float((weights * (y - mean) ** 2).sum() - (len(y) - 1))

    if excess(0.0) <= 0:
        return 0.0
    from scipy.optimize import brentq

    # There every weight is below 1 / variance, so the sum is below 1, and K - 1 is 2 or more.
    return float(brentq(excess, 0.0, float(((y - y.mean()) ** 2).sum()) + 1e-12))
