"""What is compared: a number for one run, in percent, lower is better.

`rows` are what predictions.npy holds: one record (target, predicted, scores) for each test image; `scores` are the
probabilities of the classes.
"""

from collections.abc import Sequence

import numpy as np

from torchmoments_lab.settings import Metric

# As a sentence names them.
NAMES: dict[Metric, str] = {"error": "error", "balanced-error": "balanced error", "auroc": "AUROC error"}


def score(metric: Metric, rows: np.ndarray) -> float:
    """The metric of one run.

    error           100 * share of wrong images
    balanced-error  the mean of that share over the classes that the test set has
    auroc           100 * (1 - the mean over those classes of the area under ROC, the class against the rest)
    """
    return float(of_images(metric, rows).mean())


def of_images(metric: Metric, rows: np.ndarray) -> np.ndarray:
    """What each image contributes: [N] numbers whose mean is the metric, and whose spread tells how the metric varies
    with the test images.

    For the error, 100 or 0. For the others what the jackknife says, with m the metric and m[-i] that without image i:

        N m - (N - 1) m[-i]

    A class with a single test image has no spread to tell: then it is the metric alone, [1].
    """
    targets = rows["target"]
    wrong: np.ndarray = 100.0 * (targets != rows["predicted"])
    if metric == "error":
        return wrong
    classes = np.unique(targets)
    parts = [(targets == c, wrong[targets == c]) for c in classes]
    if metric == "auroc":
        parts = [part for c in classes for part in _areas(targets == c, rows["scores"][:, c])]
    of_class = np.array([values.mean() for _, values in parts]).reshape(len(classes), -1)[:, 0]
    if any(len(values) == 1 for _, values in parts):
        return np.array([of_class.mean()])
    # Without one of its n values, a mean changes by (mean - value) / (n - 1).
    found = np.full(len(rows), of_class.mean())
    for chosen, values in parts:
        found[chosen] += (len(rows) - 1) / len(classes) * (values - values.mean()) / (len(values) - 1)
    return found


def _areas(positive: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For the images of a class, and for the others: the percentage of the other side whose scores are on the wrong
    side of each; half of equal ones. The mean of either is 100 * (1 - area under ROC)."""
    own, others = np.sort(scores[positive]), np.sort(scores[~positive])
    above = len(others) - _rank(others, scores[positive])
    below = _rank(own, scores[~positive])
    return [(positive, 100 * above / len(others)), (~positive, 100 * below / len(own))]


def _rank(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How many of the sorted values are below each, and half of those that are equal."""
    ranks: np.ndarray = (np.searchsorted(values, at, "left") + np.searchsorted(values, at, "right")) / 2
    return ranks


def check_classes(metric: Metric, targets: np.ndarray, classes: Sequence[str], of: str) -> list[str]:
    """Sentences if a metric that goes by classes covers fewer of them than there are, or has one image of one.

    Args:
        targets: classes of the images that are evaluated.
        classes: names of all.
        of: what the images are called.

    Raises:
        ValueError: the images are of so few classes that there is no such metric.
    """
    if metric == "error":
        return []
    present, counts = np.unique(targets, return_counts=True)
    missing = [name for number, name in enumerate(classes) if number not in present]
    single = [classes[number] for number in present[counts == 1]]
    if metric == "auroc" and len(present) < 2:
        raise ValueError(
            f"metric auroc needs {of} images of two classes; got {len(targets)}, all of class "
            f"{classes[int(present[0])]!r}. Write --metric error, or add images of another class."
        )
    found = []
    if missing:
        found.append(f"{_have(missing)} no {of} image, so the {NAMES[metric]} is the mean over the other classes.")
    if single:
        found.append(f"{_have(single)} a single {of} image, so intervals are for these {of} images alone.")
    return found


def _have(classes: Sequence[str]) -> str:
    return f"Class {classes[0]!r} has" if len(classes) == 1 else f"{len(classes)} classes, such as {classes[0]!r}, have"
