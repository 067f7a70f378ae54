"""Seeds that collapsed, and a mean that they do not spoil.

A t interval takes it for granted that no seed is far off: if 1 run in 20 collapses, it covers 52 to 86% instead of 95%.
"""

from collections.abc import Mapping

import numpy as np

from torchmoments_lab.statistics.crossed import Spread, interval, spread
from torchmoments_lab.statistics.values import Estimate

# Robust standard deviations. Of a few seeds these are not well known, see `collapsed`.
_FAR = 5.2
# Points. With few test images all seeds but one may have the same error.
_AT_LEAST = 5.0
_TRIMMED = 0.2


def collapsed(errors: Mapping[int, float]) -> tuple[int, ...]:
    """The seeds whose error is far above the median: by more than 5 points and 5.2 (1 + 4 / (n - 2)) robust standard
    deviations, which 1 to 2% of normal samples of a few seeds exceed, and 0.1% of 20.

    Args:
        errors: {seed: percent}.
    """
    if len(errors) < 3:
        return ()
    values = np.array(list(errors.values()))
    middle = float(np.median(values))
    deviation = 1.4826 * float(np.median(abs(values - middle)))
    far = _FAR * (1 + 4 / (len(values) - 2)) * deviation
    return tuple(seed for seed, error in errors.items() if error > middle + max(_AT_LEAST, far))


def trimmed(scores: np.ndarray) -> Estimate:
    """The mean without the lowest and the highest fifth of the seeds, and its 95% interval (Tukey and McLaughlin 1963).

    The variance over seeds is that of Winsorized seed means / (0.6^2 S); what the test images add is estimated from the
    seeds that are kept, as in `crossed`.

    Args:
        scores: [S, I].

    Returns:
        No interval with fewer than 5 seeds, of which none would be left out.
    """
    of_seeds = scores.mean(axis=1)
    number, cut = len(of_seeds), int(_TRIMMED * len(of_seeds))
    order = np.argsort(of_seeds)
    kept = scores[order[cut : number - cut]]
    mean = float(kept.mean())
    of = spread(kept)
    if cut == 0 or of is None:
        return Estimate(mean, None, number)
    ends = of_seeds[order[[cut, number - cut - 1]]]
    winsorized = float(np.var(np.clip(of_seeds, *ends), ddof=1)) / ((1 - 2 * _TRIMMED) ** 2 * number)
    found = Spread(winsorized, of.of_images, of.of_residual, len(kept), of.images)
    return Estimate(mean, interval(mean, found.standard_error, found.df), number)
