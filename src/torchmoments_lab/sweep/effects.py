"""What each two-valued axis of a grid is worth, averaged over all other axes, and how two of them depend on each other.

Scores are [S seeds, I images, one dimension for each axis], paired within a seed and an image. With E(a) the mean over
all other axes:

    effect of A            E(A = second) - E(A = first)
    interaction of A, B    (E(A = second, B = second) - E(A = first, B = second))
                         - (E(A = second, B = first)  - E(A = first, B = first))

the change of A's effect when B goes from its first to its second value. One contrast a seed and image, and then what
`statistics.several` says of them together.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from torchmoments_lab.report.summary import Effect
from torchmoments_lab.statistics.looks import ONCE, Looks
from torchmoments_lab.statistics.several import differences


def effects(scores: np.ndarray, axes: Mapping[str, Sequence[str]], looks: Looks = ONCE) -> tuple[Effect, ...]:
    """Main effects, then two-way interactions, of the axes with two values, in points; judged together.

    Args:
        scores: [S, I, values of the first axis, values of the second, ...], in percent.
        axes: {name: values}, in the order of the dimensions. Those with more values, or one, are averaged over.
        looks: how results were looked at while seeds were added.
    """
    two_valued = [number for number, values in enumerate(axes.values()) if len(values) == 2]
    chosen = [(one,) for one in two_valued] + list(combinations(two_valued, 2))
    contrasts = differences([_contrast(scores, numbers) for numbers in chosen], [looks] * len(chosen))
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


def _contrast(scores: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """[S, I]: the difference along each chosen axis, the mean along the others."""
    # From the last, so that the numbers of the axes before it stay.
    for number in reversed(range(scores.ndim - 2)):
        along = number + 2
        scores = np.diff(scores, axis=along).squeeze(along) if number in chosen else scores.mean(axis=along)
    return scores
