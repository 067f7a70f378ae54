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
    if metric == "auroc":
        from sklearn.metrics import roc_auc_score

        areas = [roc_auc_score(rows["target"] == c, rows["scores"][:, c]) for c in np.unique(rows["target"])]
        return 100 * (1 - float(np.mean(areas)))
    return float(of_images(metric, rows).mean())


def of_images(metric: Metric, rows: np.ndarray) -> np.ndarray:
    """[N] numbers, one an image, whose mean is the metric.

    Raises:
        ValueError: auroc, which is no mean over images.
    """
    if metric == "auroc":
        raise ValueError("a number for each image needs the metric error or balanced-error; got auroc.")
    wrong: np.ndarray = 100.0 * (rows["target"] != rows["predicted"])
    if metric == "balanced-error":
        classes, place, counts = np.unique(rows["target"], return_inverse=True, return_counts=True)
        wrong *= len(rows) / (len(classes) * counts[place])
    return wrong


def check_classes(metric: Metric, targets: np.ndarray, classes: Sequence[str], of: str) -> str | None:
    """A sentence if a metric that goes by classes covers fewer of them than there are; None otherwise.

    Args:
        targets: classes of the images that are evaluated.
        classes: names of all.
        of: what the images are called.

    Raises:
        ValueError: the images are of so few classes that there is no such metric.
    """
    present = np.unique(targets)
    missing = [name for number, name in enumerate(classes) if number not in present]
    if metric == "error" or not missing:
        return None
    if metric == "auroc" and len(present) < 2:
        raise ValueError(
            f"metric auroc needs {of} images of two classes; got {len(targets)}, all of class "
            f"{classes[int(present[0])]!r}. Write --metric error, or add images of another class."
        )
    many = f"{len(missing)} classes, such as {missing[0]!r}, have"
    which = f"Class {missing[0]!r} has" if len(missing) == 1 else many
    return f"{which} no {of} image, so the {NAMES[metric]} is the mean over the other classes."
