"""What each two-valued axis of a grid is worth, averaged over all other axes, and how two of them depend on each other.

Errors are [S seeds, one dimension for each axis], paired within a seed. With E(a) the mean over all other axes:

    effect of A            E(A = second) - E(A = first)
    interaction of A, B    (E(A = second, B = second) - E(A = first, B = second))
                         - (E(A = second, B = first)  - E(A = first, B = first))

the change of A's effect when B goes from its first to its second value. One contrast a seed, then the t interval over
seeds.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from torchmoments_lab.report.summary import Effect
from torchmoments_lab.statistics import difference, with_holm


def effects(errors: np.ndarray, axes: Mapping[str, Sequence[str]]) -> tuple[Effect, ...]:
    """Main effects, then two-way interactions, of the axes with two values, in points; p_holm counts all of them.

    Args:
        errors: [S, values of the first axis, values of the second, ...], in percent.
        axes: {name: values}, in the order of the dimensions. Those with more values, or one, are averaged over.
    """
    two_valued = [number for number, values in enumerate(axes.values()) if len(values) == 2]
    chosen = [(one,) for one in two_valued] + list(combinations(two_valued, 2))
    contrasts = with_holm([difference(list(_contrast(errors, numbers))) for numbers in chosen])
    names, values = list(axes), list(axes.values())
    return tuple(
        Effect(
            axes=tuple(names[number] for number in numbers),
            first=tuple(values[number][0] for number in numbers),
            second=tuple(values[number][1] for number in numbers),
            effect=contrast,
        )
        for numbers, contrast in zip(chosen, contrasts, strict=True)
    )


def _contrast(errors: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """[S]: the difference along each chosen axis, the mean along the others."""
    # From the last, so that the numbers of the axes before it stay.
    for number in reversed(range(errors.ndim - 1)):
        along = number + 1
        errors = np.diff(errors, axis=along).squeeze(along) if number in chosen else errors.mean(axis=along)
    return errors
