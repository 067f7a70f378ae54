"""The statistics of a comparison, from its runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torchmoments_lab import metrics
from torchmoments_lab.report.reading import Comparison, RunRecord, Runs, errors_of
from torchmoments_lab.report.summary import About, BeyondLabels, Failure, Method, Paired, Summary
from torchmoments_lab.settings import Metric, Setting
from torchmoments_lab.spec import FEATURE_OPTIONS, parse
from torchmoments_lab.statistics import (
    Errors,
    Estimate,
    Interval,
    estimate,
    interval_with_images,
    paired,
    ratio,
    seed_differences,
    with_holm,
)

# With fewer, which images happen to be in the test set matters as much as the seeds.
FEW_IMAGES = 1000


def summarize(comparison: Comparison) -> Summary:
    """What the runs show, without the conclusion."""
    runs, reference = comparison.runs, comparison.reference
    others = [method for method in runs if method != reference]
    metric: Metric = comparison.settings.get("metric", "error")  # type: ignore[assignment]
    errors = {method: errors_of(of_method) for method, of_method in runs.items()}
    differences = with_holm([paired(errors[method], errors[reference]) for method in others])
    return Summary(
        reference=reference,
        methods={method: _method(list(of_method.values())) for method, of_method in runs.items()},
        paired={
            method: Paired(difference, *_of_pairs(runs[method], runs[reference], metric))
            for method, difference in zip(others, differences, strict=True)
        },
        beyond_labels={
            method: _beyond(labels, method, errors, reference)
            for method in others
            for labels in others
            if is_control(labels, method)
        },
        missing=comparison.missing(),
        **about(runs, comparison.failed, comparison.settings),
    )


def about(runs: Runs, failed: Sequence[Failure], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """What every summary says of its runs, as arguments of it."""
    complete = [run for of_method in runs.values() for run in of_method.values()]
    images, environments = len(complete[0].predictions) if complete else None, [run.env for run in complete]
    once = [env for index, env in enumerate(environments) if env not in environments[:index]]
    return vars(About(settings=settings, images=images, environments=tuple(once), failed=tuple(failed)))


def _beyond(labels: str, moex: str, errors: Mapping[str, Errors], reference: str) -> BeyondLabels:
    """The share of the labels in the gain is over the seeds that all three have."""
    both, alone = (seed_differences(errors[method], errors[reference]) for method in (moex, labels))
    seeds = both.keys() & alone.keys()
    share = ratio([alone[seed] for seed in seeds], [both[seed] for seed in seeds])
    return BeyondLabels(labels, paired(errors[moex], errors[labels]), share)


def is_control(labels: str, method: str) -> bool:
    """Whether `labels` is the control of `method`: the same mixing of images, and the same options as far as they
    matter to labels, as typed."""
    try:
        (*of_moex, moex), (*of_labels, control) = parse(method), parse(labels)
    except ValueError:
        # A report is made of any folder, of whatever version its methods are.
        return False
    if (moex.name, control.name) != ("moex", "labels") or of_moex != of_labels:
        return False
    options = [{k: v for k, v in part.options.items() if k not in FEATURE_OPTIONS} for part in (moex, control)]
    return options[0] == options[1]


def _method(runs: Sequence[RunRecord]) -> Method:
    seconds = float(np.mean([run.seconds for run in runs])) if runs else None
    return Method(estimate([run.error for run in runs]), seconds)


def _of_pairs(
    runs: Mapping[int, RunRecord], others: Mapping[int, RunRecord], metric: Metric
) -> tuple[Estimate, Interval | None]:
    """The slowdown, and the interval of the difference if the test images are a sample too."""
    pairs = [(run, others[seed]) for seed, run in runs.items() if seed in others]
    logs = estimate([math.log(run.seconds / o.seconds) for run, o in pairs if run.seconds > 0 and o.seconds > 0])
    ci95 = None if logs.ci95 is None else (math.exp(logs.ci95[0]), math.exp(logs.ci95[1]))
    slowdown = Estimate(None if logs.mean is None else math.exp(logs.mean), ci95, logs.n)
    if not pairs or metric == "auroc" or len(pairs[0][0].predictions) >= FEW_IMAGES:
        return slowdown, None
    of_images = [[metrics.of_images(metric, run.predictions) for run in pair] for pair in pairs]
    return slowdown, interval_with_images(np.array([own - other for own, other in of_images]))
