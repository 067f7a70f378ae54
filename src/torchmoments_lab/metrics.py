"""What is compared: a number for one run, in percent, lower is better.

`rows` are what predictions.npy holds: one record (target, predicted, scores) for each test image; `scores` are the
probabilities of the classes.
"""

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np

from torchmoments_lab.settings import Metric

# As a sentence names them.
NAMES: dict[Metric, str] = {
    "error": "error",
    "balanced-error": "balanced error",
    "auroc": "AUROC error",
    "average-precision": "average precision error",
    "log-loss": "log loss",
    "calibration": "calibration error",
}
EXPLAINED: dict[Metric, str] = {
    "balanced-error": "The balanced error is the mean of the errors of the classes.",
    "auroc": "The AUROC error is 100 times (1 - AUROC), the mean over the classes, each against the rest.",
    "average-precision": "The average precision error is 100 times (1 - average precision), the mean over the classes, "
    "each against the rest.",
    "log-loss": "The log loss is in hundredths of a nat: a point is one of them.",
    "calibration": "The calibration error is the mean distance of confidence and accuracy in 15 bins of confidence.",
}
METRICS: tuple[Metric, ...] = get_args(Metric)
_BINS = 15


def score(metric: Metric, rows: np.ndarray) -> float:
    """The metric of one run.

    error              100 * share of wrong images
    balanced-error     the mean of that share over the classes that the test set has
    auroc              100 * (1 - the mean over those classes of the area under ROC, the class against the rest)
    average-precision  100 * (1 - the mean over those classes of the average precision, the class against the rest)
    log-loss           -100 * mean of the logarithm of the probability of the target
    calibration        100 * sum over 15 equal bins of confidence of |accuracy - confidence| * share of the images in it
    """
    return float(of_images(metric, rows).mean())


def of_images(metric: Metric, rows: np.ndarray) -> np.ndarray:
    """What each image contributes: [N] numbers whose mean is the metric, and whose spread tells how the metric varies
    with the test images.

    For the error and the log loss, their value for the image. For the others what the jackknife says, with m the metric
    and m[-i] that without image i, but for a constant that makes the mean m:

        N m - (N - 1) m[-i]

    A class with a single test image has no spread to tell: then metrics that go by classes are alone, [1].
    """
    targets = rows["target"]
    wrong: np.ndarray = 100.0 * (targets != rows["predicted"])
    if metric == "error":
        return wrong
    if metric == "log-loss":
        probabilities = rows["scores"][np.arange(len(rows)), targets]
        losses: np.ndarray = -100 * np.log(np.clip(probabilities.astype(float), np.finfo(np.float32).eps, 1))
        return losses
    if metric == "calibration":
        return _calibration(wrong, rows["scores"].max(axis=1).astype(float))
    without: dict[Metric, Callable[..., np.ndarray]] = {
        "balanced-error": lambda positive, _: _error_without(positive, wrong),
        "auroc": _area_without,
        "average-precision": _precision_without,
    }
    classes, counts = np.unique(targets, return_counts=True)
    parts = [without[metric](targets == c, rows["scores"][:, c].astype(float)) for c in classes]
    # Of each class: the metric, and that without each of the images.
    of_all, of_each = (np.mean([part[slot] for part in parts], axis=0) for slot in (slice(0, 1), slice(1, None)))
    is_alone = counts.min() == 1 or (metric == "auroc" and (len(rows) - counts).min() == 1)
    return np.asarray(of_all) if is_alone else _jackknife(float(of_all[0]), of_each)


def _jackknife(of_all: float, without_each: np.ndarray) -> np.ndarray:
    found: np.ndarray = (len(without_each) - 1) * (without_each.mean() - without_each) + of_all
    return found


def _error_without(positive: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """[1 + N]: the error of a class, and that without each image."""
    own = wrong[positive]
    without = np.full(len(wrong), own.mean())
    if len(own) > 1:
        without[positive] = (own.sum() - own) / (len(own) - 1)
    return np.append(own.mean(), without)


def _area_without(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[1 + N]: 100 * (1 - area under ROC) of a class against the rest, and that without each image."""
    own, others = np.sort(scores[positive]), np.sort(scores[~positive])
    # How many of the other side are on the wrong side of each; half of equal ones.
    misplaced = np.empty(len(scores))
    misplaced[positive] = len(others) - _rank(others, scores[positive])
    misplaced[~positive] = _rank(own, scores[~positive])
    pairs, total = len(own) * len(others), misplaced[positive].sum()
    left = pairs - np.where(positive, len(others), len(own))
    return 100 * np.append(total / pairs, (total - misplaced) / np.maximum(left, 1))


def _rank(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How many of the sorted values are below each, and half of those that are equal."""
    ranks: np.ndarray = (np.searchsorted(values, at, "left") + np.searchsorted(values, at, "right")) / 2
    return ranks


def _precision_without(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[1 + N]: 100 * (1 - average precision) of a class against the rest, and that without each image.

    The average precision is the mean over the positive images of the precision among those with a score as high. One
    image less lowers the counts of all that do not score higher than it.
    """
    own, everything = np.sort(scores[positive]), np.sort(scores)
    # From the lowest score on; among those with a score as high: the positive ones, and all.
    hits = len(own) - np.searchsorted(own, own, "left")
    count = len(everything) - np.searchsorted(everything, own, "left")
    precision, fewer = hits / count, np.maximum(count - 1, 1)
    up_to = np.searchsorted(own, scores, "right")
    above = precision.sum() - _sums(precision)[up_to]
    without = np.where(
        positive,
        (above + _sums((hits - 1) / fewer)[up_to]) / max(len(own) - 1, 1),
        (above + _sums(hits / fewer)[up_to]) / len(own),
    )
    # Without itself a positive image has no precision.
    place = np.searchsorted(own, scores[positive], "left")
    without[positive] -= ((hits - 1) / fewer)[place] / max(len(own) - 1, 1)
    return 100 * (1 - np.append(precision.mean(), without))


def _sums(values: np.ndarray) -> np.ndarray:
    """[n + 1]: the sum of the first k."""
    return np.append(0.0, np.cumsum(values))


def _calibration(wrong: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """What each image contributes to 100 times the expected calibration error."""
    gaps = 100 - wrong - 100 * confidence
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    of_bins = np.bincount(bins, gaps, minlength=_BINS)
    total = abs(of_bins).sum()
    without_each = total - abs(of_bins)[bins] + abs(of_bins[bins] - gaps)
    return _jackknife(float(total / len(wrong)), without_each / max(len(wrong) - 1, 1))


def of_one_class(metric: Metric, targets: np.ndarray) -> float | None:
    """The error and the balanced error of always naming the most frequent class; None for metrics of probabilities."""
    _, counts = np.unique(targets, return_counts=True)
    if metric == "error":
        return float(100 * (1 - counts.max() / counts.sum()))
    return 100 * (1 - 1 / len(counts)) if metric == "balanced-error" else None


def is_defined(metric: Metric, targets: np.ndarray) -> bool:
    """Whether there is such a metric: those of a class against the rest need two classes."""
    return metric not in ("auroc", "average-precision") or len(np.unique(targets)) > 1


def check_classes(metric: Metric, targets: np.ndarray, classes: Sequence[str], of: str) -> list[str]:
    """Sentences if a metric that goes by classes covers fewer of them than there are, or has one image of one.

    Args:
        targets: classes of the images that are evaluated.
        classes: names of all.
        of: what the images are called.

    Raises:
        ValueError: the images are of so few classes that there is no such metric.
    """
    if metric not in ("balanced-error", "auroc", "average-precision"):
        return []
    present, counts = np.unique(targets, return_counts=True)
    missing = [name for number, name in enumerate(classes) if number not in present]
    single = [classes[number] for number in present[counts == 1]]
    if not is_defined(metric, targets):
        raise ValueError(
            f"metric {metric} needs {of} images of two classes; got {len(targets)}, all of class "
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
