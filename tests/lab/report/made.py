"""Comparisons that are made up, for tests of what a report says of their predictions."""

import numpy as np

from torchmoments_lab.report.images import Images
from torchmoments_lab.report.runs import Comparison, Event, Plan, RunRecord


def comparison(classes, targets, predicted, plan=Plan(), settings=None, **images):  # noqa: B008
    """One of these predictions, {method: [seeds, images]}; `images` are of `Images`."""
    runs = {
        method: {seed: _run(method, seed, targets, of_seed) for seed, of_seed in enumerate(of_method)}
        for method, of_method in predicted.items()
    }
    history = (Event(tuple(runs), max(map(len, runs.values())), None, ()),)
    kept = Images(classes, [10] * len(classes), len(targets), **images)
    return Comparison("made", settings or {}, history, runs, (), plan, kept)


def _run(method, seed, targets, predicted):
    rows = np.empty(len(targets), [("target", np.int64), ("predicted", np.int64)])
    rows["target"], rows["predicted"] = targets, predicted
    scores = {"error": 100.0 * (rows["target"] != rows["predicted"])}
    return RunRecord(method, seed, 1.0, {}, {}, rows, scores, {})


def drawn(classes, images, seeds, right=0.7, number=0):
    """(targets, predictions [seeds, images]) of which about so many are right."""
    rng = np.random.default_rng(number)
    targets = np.arange(images) % classes
    guessed = rng.integers(0, classes, (seeds, images))
    return targets, np.where(rng.random((seeds, images)) < right, targets, guessed)
