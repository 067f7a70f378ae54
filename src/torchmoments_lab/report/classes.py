"""The section of a report on the classes: how many images each has, how many of them are recognized, and for what
others are taken."""

from collections.abc import Mapping, Sequence

import numpy as np

from torchmoments_lab.report import wording
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.images import Images
from torchmoments_lab.report.page import Block, Picture, Section, Table, Text
from torchmoments_lab.report.panels import confusions
from torchmoments_lab.report.runs import Comparison, RunRecord
from torchmoments_lab.statistics.crossed import estimate
from torchmoments_lab.statistics.values import Estimate, clipped

# More classes than these are too many to draw, or to list; and pairs of them that are listed instead.
_DRAWN, _LISTED, _PAIRS = 12, 20, 10
# Columns that a page has room for.
_BESIDE = 4


def section(comparison: Comparison) -> Section:
    complete = {method: list(runs.values()) for method, runs in comparison.runs.items() if runs}
    title, images = "Class by class", comparison.images
    if images is None or not complete:
        return Section(title, [])
    matrices = {method: confusion(runs, len(images.classes)) for method, runs in complete.items()}
    blocks = _recalls(images, complete, np.diag(next(iter(matrices.values()))))
    blocks += (_drawn if len(images.classes) <= _DRAWN else _most_confused)(images.classes, matrices)
    return Section(title, blocks)


def confusion(runs: Sequence[RunRecord], classes: int) -> np.ndarray:
    """[classes, classes]: of the test images of a class (row), the percentage that is taken for each (column), the mean
    over the runs; NaN for a class without images."""
    pairs = np.concatenate([run.predictions["target"] * classes + run.predictions["predicted"] for run in runs])
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = 100 * counts / counts.sum(axis=1, keepdims=True)
    return shares


def _recalls(images: Images, complete: Mapping[str, Sequence[RunRecord]], of_reference: np.ndarray) -> list[Block]:
    targets = next(iter(complete.values()))[0].predictions["target"]
    counts = np.bincount(targets, minlength=len(images.classes))
    right = {
        method: np.array([100.0 * (targets == run.predictions["predicted"]) for run in runs])
        for method, runs in complete.items()
    }
    # A class without test images has NaN, which is last.
    listed = sorted(np.argsort(of_reference, kind="stable")[:_LISTED].tolist())
    recalls = {
        c: [wording.with_interval(_recall(of_method[:, targets == c])) for of_method in right.values()] for c in listed
    }
    of_class = {c: [images.classes[c], f"{images.training[c]:,}", f"{counts[c]:,}"] for c in listed}
    headings, names = ["Class", "Training", "Test", *right], 1
    rows = [[*of_class[c], *recalls[c]] for c in listed]
    if len(right) > _BESIDE:
        headings, names = ["Class", "Method", "Recall", "Training", "Test"], 2
        rows = [
            [name, method, cell, training, test]
            for c, (name, training, test) in of_class.items()
            for method, cell in zip(right, recalls[c], strict=True)
        ]
    caption = "Images of each class, and the percentage of its test images that is recognized (recall)"
    if len(listed) < len(images.classes):
        few = f"The {_LISTED} of {len(images.classes):,} classes that are recognized least by {next(iter(complete))}"
        caption = f"{few}: images of each, and the percentage of its test images that is recognized (recall)"
    table = Table(caption, headings, rows, names=names)
    return [table, Text("Each 95% interval is for itself, and for no verdict: of twenty, one misses.")]


def _recall(right: np.ndarray) -> Estimate:
    """Of [seeds, images of a class], 100 where the prediction is right."""
    found = clipped(estimate(right), 0.0, 100.0)
    # A single image says nothing of others.
    return found if right.shape[1] > 1 else Estimate(found.mean, None, found.n)


def _drawn(classes: Sequence[str], matrices: Mapping[str, np.ndarray]) -> list[Block]:
    described = [
        f"{method}: " + ", ".join(f"{classes[c]} {m[c, c]:.0f}%" for c in range(len(classes)) if np.isfinite(m[c, c]))
        for method, m in matrices.items()
    ]
    drawing = draw("confusion", lambda: confusions(matrices, classes))
    picture = Picture("confusion", f"Confusion matrices; recognized are, by {'; by '.join(described)}.", drawing)
    said = (
        "A row is a class, a column what its test images are taken for, in percent of the row, the mean over the seeds."
    )
    return [picture, Text(said)]


def _most_confused(classes: Sequence[str], matrices: Mapping[str, np.ndarray]) -> list[Block]:
    reference, of_reference = next(iter(matrices.items()))
    wrong = np.nan_to_num(of_reference)
    np.fill_diagonal(wrong, 0)
    pairs = [divmod(int(place), len(classes)) for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]]
    rows = [
        [classes[c], classes[taken], *(f"{m[c, taken]:.2f}" for m in matrices.values())]
        for c, taken in pairs
        if wrong[c, taken] > 0
    ]
    caption = f"What {reference} confuses most, in percent of the test images of the class"
    return [Table(caption, ["Class", "Taken for", *matrices], rows, names=2)] if rows else []
