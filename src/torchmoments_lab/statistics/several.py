"""Several differences at once, and the best of several.

Differences from one reference, m of them: the adjusted p of each is that of the smallest of m independent ones,
1 - (1 - p)^m, and each adjusted interval has the level 1 - 0.95^(1/m) (Sidak 1967). It holds for normal means whatever
their correlation. All intervals together cover with 95%, and each leaves out 0 exactly if its adjusted p is below 0.05.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaincinv, ndtr

from torchmoments_lab.statistics.crossed import Spread, interval, spread
from torchmoments_lab.statistics.looks import ONCE, Looks
from torchmoments_lab.statistics.values import LEVEL, Difference, Interval, Outcome


def differences(
    paired: Sequence[np.ndarray], looks: Sequence[Looks] | None = None, margin: float | None = None
) -> list[Difference]:
    """What is known of each of some differences, which are judged together.

    Args:
        paired: of each, the scores minus those of the same seeds and images of what it is compared with, [S, I]; [0, 0]
            if there are no pairs.
        looks: how each was looked at; once if left out.
        margin: a difference of less, in points, does not matter.
    """
    # One without runs yet counts too: what is known of the others is the same when it has some.
    return [
        _difference(scores, spread(scores) if scores.size else None, rule, len(paired), margin)
        for scores, rule in zip(paired, looks or [ONCE] * len(paired), strict=True)
    ]


def level_of_each(comparisons: int) -> float:
    """The level of one of so many differences, if all together have 5%."""
    return LEVEL if comparisons < 2 else float(1 - (1 - LEVEL) ** (1 / comparisons))


def difference(paired: np.ndarray) -> Difference:
    """The only one."""
    return differences([paired])[0]


def _difference(
    scores: np.ndarray, of: Spread | None, looks: Looks, comparisons: int, margin: float | None
) -> Difference:
    if scores.size == 0:
        return Difference(None, None, 0)
    mean = float(scores.mean())
    if of is None:
        return Difference(mean, None, len(scores))
    level, t = level_of_each(comparisons), mean / of.standard_error
    adjusted, p = _around(mean, of, looks, level), looks.p_value(t, of)
    these_images = spread(scores.mean(axis=1, keepdims=True))
    return Difference(
        mean,
        interval(mean, of.standard_error, of.df),
        len(scores),
        df=of.df,
        p_value=ONCE.p_value(t, of),
        # Not 1 - (1 - p)^m, which is 0 for a small p.
        p_adjusted=float(-np.expm1(comparisons * np.log1p(-p))) if p < 1 else 1.0,
        ci95_adjusted=adjusted,
        ci95_these_images=None if these_images is None else _around(mean, these_images, looks, level),
        outcome=_outcome(adjusted, margin),
    )


def _around(mean: float, of: Spread, looks: Looks, level: float) -> Interval | None:
    half = looks.critical(level, of) * of.standard_error
    return (mean - half, mean + half) if np.isfinite(half) else None


def _outcome(adjusted: Interval | None, margin: float | None) -> Outcome:
    low, high = adjusted or (-np.inf, np.inf)
    if low > 0 or high < 0:
        return "gain" if high < 0 else "harm"
    if margin is not None and -margin < low and high < margin:
        return "no difference that matters"
    return "not shown"


def shown_worse(scores: np.ndarray) -> np.ndarray:
    """Which of k methods are shown to be worse than the one with the lowest mean.

    A method is if its difference from the lowest one, divided by sqrt(V), is above Dunnett's one-sided d(k - 1, df),
    with V and df of this difference: then, with 95%, none of these methods is the best (Hsu 1984). Hsu pools the
    variances of all methods; if they are unequal, that calls the best one worse too often.

    Args:
        scores: [k, S, I].

    Returns:
        [k] bool.
    """
    lowest = scores[int(scores.mean(axis=(1, 2)).argmin())]
    spreads = [spread(of - lowest) for of in scores]
    return np.array(
        [
            of is not None and (mine - lowest).mean() > dunnett(len(scores) - 1, of.df) * of.standard_error
            for mine, of in zip(scores, spreads, strict=True)
        ]
    )


def dunnett(comparisons: int, df: float) -> float:
    """The d with P(all of so many t > d is false) = 0.95, for t statistics that share one mean and one variance.

    t[j] = (z[j] - z[0]) / (sqrt(2) s), z normal and df s^2 chi-squared: the mean over z[0] and s of
    Phi(z[0] + sqrt(2) d s)^comparisons.
    """
    from scipy.optimize import brentq

    z, weights = np.polynomial.hermite_e.hermegauss(40)
    # With few degrees of freedom the small s decide.
    number = 64 if df > 10 else 2048
    s = (2 * gammaincinv(df / 2, (np.arange(number) + 0.5) / number) / df) ** 0.5

    def covered(d: float) -> float:
        return float(np.mean((ndtr(z + 2**0.5 * d * s[:, None]) ** comparisons) @ weights) / weights.sum())

    most = 1e4
    return float(brentq(lambda d: covered(d) - (1 - LEVEL), 0, most)) if covered(most) > 1 - LEVEL else float("inf")
