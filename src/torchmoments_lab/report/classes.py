"""The section of a report on the classes: how many images each has, how many of them are found, and for what others are
taken."""

from collections.abc import Mapping, Sequence

import numpy as np

from torchmoments_lab.report import wording
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.figures import Confusion, confusions
from torchmoments_lab.report.page import Block, Picture, Section, Table, Text
from torchmoments_lab.report.runs import Comparison, RunRecord
from torchmoments_lab.statistics.crossed import estimate
from torchmoments_lab.statistics.values import clipped

# More classes than these are too many to draw, or to list.
_DRAWN, _LISTED, _PAIRS = 12, 20, 10


def section(comparison: Comparison) -> Section:
    complete = {method: runs for method, runs in comparison.runs.items() if runs}
    images = comparison.images
    if images is None or not complete:
        return Section("Class by class", [])
    matrices = {method: confusion(runs, len(images.classes)) for method, runs in complete.items()}
    blocks: list[Block] = [*_recalls(images.classes, images.training, complete)]
    if len(images.classes) <= _DRAWN:
        blocks += _drawn(images.classes, matrices)
    else:
        blocks.append(_most_confused(images.classes, matrices))
    return Section("Class by class", blocks)


def confusion(runs: Mapping[int, RunRecord], classes: int) -> np.ndarray:
    """[classes, classes]: of the test images of a class (row), the percentage that is taken for each (column), the mean
    over the runs; NaN for a class without images."""
    counts = np.zeros((classes, classes))
    for run in runs.values():
        np.add.at(counts, (run.predictions["target"], run.predictions["predicted"]), 1)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = 100 * counts / counts.sum(1, keepdims=True)
    return shares


def _recalls(
    classes: Sequence[str], training: Sequence[int], complete: Mapping[str, Mapping[int, RunRecord]]
) -> list[Block]:
    first = next(iter(next(iter(complete.values())).values()))
    targets = first.predictions["target"]
    counts = np.bincount(targets, minlength=len(classes))
    found = {method: _right(runs) for method, runs in complete.items()}
    reference = next(iter(found.values())).mean(0)
    recall = [reference[targets == c].mean() if counts[c] else np.inf for c in range(len(classes))]
    shown = sorted(np.argsort(recall, kind="stable")[:_LISTED].tolist())
    rows = []
    for c in shown:
        cells = [_recall(right[:, targets == c]) if counts[c] else wording.NONE for right in found.values()]
        rows.append([classes[c], f"{training[c]:,}", f"{counts[c]:,}", *cells])
    caption = "Images of each class, and the percentage of its test images that is recognized (recall)"
    if len(shown) < len(classes):
        caption = (
            f"The {_LISTED} of {len(classes):,} classes that are recognized least: {caption[0].lower()}{caption[1:]}"
        )
    table = Table(caption, ["Class", "Training", "Test", *found], rows)
    return [table, Text("Each 95% interval is for itself, and for no verdict: of twenty, one misses.")]


def _right(runs: Mapping[int, RunRecord]) -> np.ndarray:
    """[seeds, images]: 100 where the prediction is right."""
    return np.array([100.0 * (run.predictions["target"] == run.predictions["predicted"]) for run in runs.values()])


def _recall(right: np.ndarray) -> str:
    return wording.with_interval(clipped(estimate(right), 0.0, 100.0))


def _drawn(classes: Sequence[str], matrices: Mapping[str, np.ndarray]) -> list[Block]:
    panels = [Confusion(method, matrix) for method, matrix in matrices.items()]
    described = [
        f"{method}: " + ", ".join(f"{classes[c]} {matrix[c, c]:.0f}%" for c in range(len(classes)))
        for method, matrix in matrices.items()
    ]
    drawing = draw("confusion", lambda: confusions(panels, classes))
    description = f"Confusion matrices; recognized are, by {'; by '.join(described)}."
    explained = Text(
        "A row is a class, a column what its test images are taken for, in percent of the row, the mean over the seeds."
    )
    return [Picture("confusion", description, drawing), explained]


def _most_confused(classes: Sequence[str], matrices: Mapping[str, np.ndarray]) -> Table:
    reference = np.nan_to_num(next(iter(matrices.values())))
    others = reference * (1 - np.eye(len(classes)))
    order = np.argsort(-others, axis=None, kind="stable")[:_PAIRS]
    rows = []
    for target, taken in (divmod(int(place), len(classes)) for place in order):
        if others[target, taken] > 0:
            rows.append([classes[target], classes[taken], *(f"{m[target, taken]:.1f}" for m in matrices.values())])
    caption = f"What {next(iter(matrices))} confuses most, in percent of the images of the class"
    return Table(caption, ["Class", "Taken for", *matrices], rows, names=2)
