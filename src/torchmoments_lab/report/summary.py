"""summary.json: the statistics of a comparison, from its runs.

Errors are in percent, differences in percentage points; below 0 the method is better than the reference.
"""

import math
from typing import Any

import numpy as np

from torchmoments_lab import metrics
from torchmoments_lab.config import OF_FEATURES, Metric
from torchmoments_lab.report.reading import Comparison, Runs
from torchmoments_lab.statistics import add_holm, estimate, interval_with_images, ratio

# With fewer, which images happen to be in the test set matters as much as the seeds.
FEW_IMAGES = 1000


def summarize(comparison: Comparison) -> dict[str, Any]:
    """The contents of summary.json, but the conclusion.

    Returns:
        methods: {word: error_mean, error_ci95, n, seconds_mean}
        paired: {word: difference_mean, difference_ci95, p_value, p_holm, n, slowdown, slowdown_ci95} for each method
            but the first. slowdown is the geometric mean over seeds of seconds / the reference's seconds. Where the
            metric is a mean over images and they are fewer than 1,000, also difference_ci95_with_images
        beyond_labels: {moex word: labels, and the entries of `paired`, but of moex minus the labels alone; share,
            share_ci95 of the labels in the gain, over the seeds that all three have}
        reference, metric, test_images, settings, environments, failed: [{method, seed, reason}], missing: {word: seeds}

        What is undefined is None.
    """
    runs = comparison.runs
    reference, *others = comparison.methods
    metric = comparison.settings.get("metric", "error")
    all_runs = [run for of_method in runs.values() for run in of_method.values()]
    complete = [run for run in all_runs if "predictions" in run]
    paired = {word: _paired(runs, word, reference, metric) for word in others}
    add_holm(paired.values())
    return {
        "reference": reference,
        "metric": metric,
        "methods": {word: _method(list(of_method.values())) for word, of_method in runs.items()},
        "paired": paired,
        "beyond_labels": {
            word: {"labels": labels, **_share(runs, word, labels, reference), **_paired(runs, word, labels, metric)}
            for word in others
            for labels in others
            if _is_moex_of(word, labels)
        },
        "test_images": len(complete[0]["predictions"]) if complete else None,
        "settings": comparison.settings,
        "environments": distinct([run["env"] for run in complete]),
        "failed": failures(all_runs),
        "missing": comparison.missing(),
    }


def seed_differences(runs: Runs, word: str, reference: str) -> dict[int, float]:
    """{seed: error of `word` minus error of `reference`}, for the seeds that both have."""
    return {seed: run["error"] - other["error"] for seed, run, other in _pairs(runs, word, reference)}


def _method(of_method: list[dict[str, Any]]) -> dict[str, Any]:
    complete = [run for run in of_method if "predictions" in run]
    error = estimate([run["error"] for run in complete])
    seconds = float(np.mean([run["seconds"] for run in complete])) if complete else None
    return {**error.named("error"), "n": error.n, "seconds_mean": seconds}


def _paired(runs: Runs, word: str, reference: str, metric: Metric) -> dict[str, Any]:
    difference = estimate(list(seed_differences(runs, word, reference).values()))
    entry = {
        **difference.named("difference"),
        "p_value": difference.p_value,
        "n": difference.n,
        **_slowdown(runs, word, reference),
    }
    images = [_of_images(run, metric) for _, *both in _pairs(runs, word, reference) for run in both]
    values = [of_image for of_image in images if of_image is not None]
    if values and len(values[0]) < FEW_IMAGES:
        entry["difference_ci95_with_images"] = interval_with_images(np.stack(values[::2]) - np.stack(values[1::2]))
    return entry


def _slowdown(runs: Runs, word: str, reference: str) -> dict[str, Any]:
    seconds = [(run["seconds"], other["seconds"]) for _, run, other in _pairs(runs, word, reference)]
    logs = estimate([math.log(own / others) for own, others in seconds if own > 0 and others > 0])
    return {
        "slowdown": None if logs.mean is None else math.exp(logs.mean),
        "slowdown_ci95": None if logs.ci95 is None else [math.exp(end) for end in logs.ci95],
    }


def _pairs(runs: Runs, word: str, reference: str) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """(seed, run of `word`, run of `reference`) where both are complete."""
    pairs = [(seed, run, runs[reference].get(seed, {})) for seed, run in runs[word].items()]
    return [(seed, run, other) for seed, run, other in pairs if "predictions" in run and "predictions" in other]


def _of_images(run: dict[str, Any], metric: Metric) -> np.ndarray | None:
    """[images] whose mean is the metric; None where it is no such mean."""
    values: np.ndarray | None = metrics.of_images(metric, run["predictions"])
    return values


def _share(runs: Runs, word: str, labels: str, reference: str) -> dict[str, Any]:
    both, alone = seed_differences(runs, word, reference), seed_differences(runs, labels, reference)
    seeds = both.keys() & alone.keys()
    share, ci95 = ratio([alone[seed] for seed in seeds], [both[seed] for seed in seeds])
    return {"share": share, "share_ci95": ci95}


def _is_moex_of(word: str, labels: str) -> bool:
    """Whether `labels` is the control of `word`: the same mixing of images, and the same options as far as they matter
    to labels, as typed."""
    (moex, *of_moex), (control, *of_labels) = map(_labels_of, (word, labels))
    return (moex, control) == ("moex", "labels") and of_moex == of_labels


def _labels_of(word: str) -> tuple[str, str, frozenset[str]]:
    """Of a method's word: its name, the mixing of images, and the options that labels depend on."""
    inputs, _, features = word.rpartition("+")
    name, _, options = features.partition(":")
    return name, inputs, frozenset(o for o in options.split(",") if o.partition("=")[0] not in OF_FEATURES)


def failures(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs that failed, and why: [{method, seed, reason}]."""
    failed = [run for run in runs if "failed" in run]
    return [{"method": run["method"], "seed": run["seed"], "reason": run["failed"]} for run in failed]


def distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, in the order of their first appearance."""
    return [item for index, item in enumerate(items) if item not in items[:index]]
