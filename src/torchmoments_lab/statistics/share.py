"""The share of one difference in another, such as that of the labels in the gain of MoEx."""

import numpy as np
from scipy.special import stdtrit

from torchmoments_lab.statistics.crossed import spread
from torchmoments_lab.statistics.values import LEVEL, Estimate


def ratio(parts: np.ndarray, wholes: np.ndarray) -> Estimate:
    """mean(parts) / mean(wholes) with its 95% interval as Fieller finds it.

    The interval holds each r for which mean(parts - r wholes) is not shown to differ from 0, by the test of `crossed`.
    It is None if that is true of arbitrarily large r, because the mean of the wholes itself may be 0; and with one
    seed, or without spread.

    Args:
        parts, wholes: scores [S, I] of the same seeds and images.
    """
    seeds, whole = len(parts), float(wholes.mean()) if wholes.size else 0.0
    # Anything below is rounding.
    if abs(whole) < 1e-9:
        return Estimate(None, None, seeds)
    share = float(parts.mean()) / whole
    if _room(wholes) >= 0 or spread(parts - share * wholes) is None:
        return Estimate(share, None, seeds)
    return Estimate(share, (_end(parts, wholes, share, -1), _end(parts, wholes, share, 1)), seeds)


def _end(parts: np.ndarray, wholes: np.ndarray, share: float, direction: int) -> float:
    """The end of the interval in this direction from the share."""
    from scipy.optimize import brentq

    step = 1.0
    while _room(parts - (share + direction * step) * wholes) >= 0:
        step *= 2
    return float(share + direction * brentq(lambda r: _room(parts - (share + direction * r) * wholes), 0, step))


def _room(scores: np.ndarray) -> float:
    """How far the mean could be from 0 before it were shown to differ from it; below 0 if it is."""
    of = spread(scores)
    return (0.0 if of is None else float(stdtrit(of.df, 1 - LEVEL / 2)) * of.standard_error) - abs(float(scores.mean()))
