"""The share of one difference in another, such as that of the labels in the gain of MoEx."""

from collections.abc import Callable

import numpy as np

from torchmoments_lab.statistics.crossed import spread
from torchmoments_lab.statistics.looks import ONCE, Looks
from torchmoments_lab.statistics.values import LEVEL, Estimate


def ratio(parts: np.ndarray, wholes: np.ndarray, looks: Looks = ONCE, level: float = LEVEL) -> Estimate:
    """mean(parts) / mean(wholes) with its 95% interval as Fieller finds it.

    The interval holds each r for which mean(parts - r wholes) is not shown to differ from 0, by the test of `crossed`.
    It is None if that is true of arbitrarily large r, because the mean of the wholes itself may be 0; and with fewer
    than three seeds, or without spread.

    Args:
        parts, wholes: scores [S, I] of the same seeds and images.
        looks, level: of the test; see `several`.
    """
    seeds, whole = len(parts), float(wholes.mean()) if wholes.size else 0.0
    # Anything below is rounding.
    if abs(whole) < 1e-9:
        return Estimate(None, None, seeds)
    share = float(parts.mean()) / whole

    def room(scores: np.ndarray) -> float:
        """How far the mean could be from 0 before it were shown to differ from it; below 0 if it is."""
        of = spread(scores)
        half = 0.0 if of is None else looks.critical(level, of) * of.standard_error
        return half - abs(float(scores.mean()))

    if room(wholes) >= 0 or spread(parts - share * wholes) is None:
        return Estimate(share, None, seeds)
    low, high = (_zero(lambda r, sign=sign: room(parts - (share + sign * r) * wholes)) for sign in (-1, 1))  # type: ignore[misc]
    return Estimate(share, (share - low, share + high), seeds)


def _zero(falling: Callable[[float], float]) -> float:
    """Where a function that is above 0 at 0 falls to 0."""
    from scipy.optimize import brentq

    end = 1.0
    while falling(end) >= 0:
        end *= 2
    return float(brentq(falling, 0, end))
