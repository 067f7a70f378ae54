"""What each two-valued axis of a grid is worth, averaged over all other axes, and how two of them depend on each other.

Errors are [S seeds, one dimension for each axis], paired within a seed. With E(a) the mean over all other axes:

    effect of A            E(A = second) - E(A = first)
    interaction of A, B    (E(A = second, B = second) - E(A = first, B = second))
                         - (E(A = second, B = first)  - E(A = first, B = first))

the change of A's effect when B goes from its first to its second value. One contrast a seed, then the t interval over
seeds.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from torchmoments_lab.statistics import add_holm, estimate
from torchmoments_lab.sweep.grid import Axis


def effects(errors: np.ndarray, axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Main effects, then two-way interactions, of the axes with two values.

    Args:
        errors: [S, values of the first axis, values of the second, ...], in percent.
        axes: in the order of the dimensions. Those with more values, or one, are averaged over.

    Returns:
        {axes: [names], from: [values], to: [values], effect_mean, effect_ci95, p_value, p_holm, n} each, in points.
        p_holm counts all of them.
    """
    two_valued = [number for number, axis in enumerate(axes) if len(axis.values) == 2]
    found: list[dict[str, Any]] = []
    for chosen in [(one,) for one in two_valued] + list(combinations(two_valued, 2)):
        contrast = estimate(list(_contrast(errors, chosen)))
        found.append(
            {
                "axes": [axes[number].name for number in chosen],
                "from": [axes[number].values[0] for number in chosen],
                "to": [axes[number].values[1] for number in chosen],
                **contrast.named("effect"),
                "p_value": contrast.p_value,
                "n": contrast.n,
            }
        )
    add_holm(found)
    return found


def _contrast(errors: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """[S]: the difference along each chosen axis, the mean along the others."""
    # From the last, so that the numbers of the axes before it stay.
    for number in reversed(range(errors.ndim - 1)):
        along = number + 1
        errors = np.diff(errors, axis=along).squeeze(along) if number in chosen else errors.mean(axis=along)
    return errors


def name_of(effect: dict[str, Any]) -> str:
    """As in "lam: 0.9 → 1"; an interaction as in "lam x grad"."""
    if len(effect["axes"]) > 1:
        return " x ".join(effect["axes"])
    return f"{effect['axes'][0]}: {effect['from'][0]} → {effect['to'][0]}"
