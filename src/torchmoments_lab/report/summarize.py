"""The statistics of a comparison, from its runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torchmoments_lab.metrics import METRICS, of_one_class
from torchmoments_lab.report.runs import (
    Comparison,
    RunRecord,
    Runs,
    minus,
    scores_of,
    values_of,
)
from torchmoments_lab.report.summary import About, BeyondLabels, Failure, Method, Needed, Paired, Summary, metric_of
from torchmoments_lab.settings import Metric, Setting
from torchmoments_lab.spec import labels_of, parse
from torchmoments_lab.statistics import planning
from torchmoments_lab.statistics.crossed import estimate, over_seeds, spread
from torchmoments_lab.statistics.looks import ONCE, Planned
from torchmoments_lab.statistics.robust import collapsed, trimmed
from torchmoments_lab.statistics.several import differences, level_of_each
from torchmoments_lab.statistics.share import ratio
from torchmoments_lab.statistics.values import Difference, Estimate, Found, clipped

# A chance to show anything, below which more seeds are not worth it.
_HOPELESS = 0.1


def summarize(comparison: Comparison) -> Summary:
    """What the runs show, without the conclusion."""
    runs, reference, margin = comparison.runs, comparison.reference, comparison.plan.margin
    others = [method for method in runs if method != reference]
    metric, metrics = metric_of(comparison.settings), _metrics(runs)
    looks = [comparison.looks(method, reference) for method in others]
    found = {
        of: differences(
            [comparison.minus(method, reference, of) for method in others],
            looks,
            # It is of the metric that is compared.
            margin if of == metric else None,
        )
        for of in metrics
    }
    methods = {method: _method(of_method, metric, metrics) for method, of_method in runs.items()}
    of_others: dict[str, dict[str, Difference]] = {
        method: {of: possible(of_metric[number], of) for of, of_metric in found.items()}
        for number, method in enumerate(others)
    }
    level = level_of_each(len(others))
    return Summary(
        reference=reference,
        methods=methods,
        paired={
            method: _paired(method, of_metrics, level, comparison, methods) for method, of_metrics in of_others.items()
        },
        beyond_labels=_beyond(comparison, metric),
        missing=comparison.missing,
        looks=comparison.plan.looks,
        margin=margin,
        **about(runs, comparison.failed, comparison.settings),
    )


def about(runs: Runs, failed: Sequence[Failure], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """What every summary says of its runs, as arguments of it."""
    complete = [run for of_method in runs.values() for run in of_method.values()]
    sizes, environments = {len(run.predictions) for run in complete}, [run.env for run in complete]
    images = sizes.pop() if len(sizes) == 1 else None
    once = [env for index, env in enumerate(environments) if env not in environments[:index]]
    covers_images = all(run.scores[metric_of(settings)].size > 1 for run in complete)
    chance = None if images is None else of_one_class(metric_of(settings), complete[0].predictions["target"])
    return vars(
        About(
            settings=settings,
            images=images,
            covers_images=covers_images,
            chance=chance,
            environments=tuple(once),
            failed=tuple(failed),
        )
    )


def possible(found: Found, metric: Metric, *, of_two: bool = False) -> Found:
    """A metric or a difference `of_two` without numbers that cannot be; the log loss has no upper end."""
    high = math.inf if metric == "log-loss" else 100.0
    return clipped(found, -high if of_two or isinstance(found, Difference) else 0.0, high)


def is_control(labels: str, method: str) -> bool:
    """Whether `labels` is the control of `method`: the same mixing of images, and the same options as far as they
    matter to labels, as typed."""
    try:
        (*of_moex, moex), (*of_control, control) = parse(method), parse(labels)
    except ValueError:
        # A report is made of any folder, of whatever version its methods are.
        return False
    names = (moex.name, control.name) == ("moex", "labels")
    return names and of_moex == of_control and labels_of(moex) == labels_of(control)


def _metrics(runs: Runs) -> list[Metric]:
    """Those that all complete runs have."""
    of_each = [run.scores for of_method in runs.values() for run in of_method.values()]
    return [metric for metric in METRICS if all(metric in scores for scores in of_each)]


def _method(runs: Mapping[int, RunRecord], metric: Metric, metrics: Sequence[Metric]) -> Method:
    seconds = float(np.mean([run.seconds for run in runs.values()])) if runs else None
    known: dict[str, Estimate] = {of: possible(estimate(scores_of(runs, of)), of) for of in metrics}
    mixed = [run.epochs["mixed"].mean() for run in runs.values() if "mixed" in run.epochs]
    return Method(known, seconds, collapsed(values_of(runs, metric)), float(np.mean(mixed)) if mixed else None)


def _paired(
    method: str,
    of_metrics: Mapping[str, Difference],
    level: float,
    comparison: Comparison,
    methods: Mapping[str, Method],
) -> Paired:
    """A method beside the reference; `level` is that of each difference."""
    reference, margin, metric = comparison.reference, comparison.plan.margin, metric_of(comparison.settings)
    runs, others = comparison.runs[method], comparison.runs[reference]
    difference, scores = of_metrics[metric], comparison.minus(method, reference, metric)
    looks, look = comparison.looks(method, reference), comparison.look(method, reference)
    known = Paired(of_metrics, _slowdown(runs, others), look=look, grown=comparison.grown(method, reference))
    of = spread(scores) if scores.size else None
    if of is None or difference.mean is None:
        return known
    alone = [spread(scores_of(each, metric)) for each in (runs, others)]
    unpaired = sum(one.variance for one in alone if one is not None)
    points = margin or tenth(methods[reference].metrics[metric].mean or 0.0)
    seeds, images = (needed(of, points, looks, level) for needed in (planning.seeds_needed, planning.images_needed))
    any_collapsed = methods[method].collapsed or methods[reference].collapsed
    times = looks.critical(level, of) / ONCE.critical(level, of)
    return replace(
        known,
        times_as_wide_unpaired=(unpaired / of.variance) ** 0.5,
        trimmed=possible(trimmed(scores), metric, of_two=True) if any_collapsed else None,
        needed=Needed(points, seeds, images) if points else None,
        hopeless=isinstance(looks, Planned)
        and difference.outcome == "not shown"
        and planning.chance(difference.mean, of, looks, level, margin) < _HOPELESS,
        times_as_wide_grown=times if math.isfinite(times) and known.grown else None,
    )


def tenth(error: float) -> float:
    """A tenth of an error, with one digit: a difference that is worth showing if nobody says which is."""
    return float(f"{error / 10:.1g}")


def _slowdown(runs: Mapping[int, RunRecord], others: Mapping[int, RunRecord]) -> Estimate:
    pairs = [(run, others[seed]) for seed, run in runs.items() if seed in others]
    logs = [math.log(run.seconds / other.seconds) for run, other in pairs if run.seconds > 0 and other.seconds > 0]
    found = over_seeds(np.array(logs))
    ci95 = None if found.ci95 is None else (math.exp(found.ci95[0]), math.exp(found.ci95[1]))
    return Estimate(None if found.mean is None else math.exp(found.mean), ci95, found.n)


def _beyond(comparison: Comparison, metric: Metric) -> dict[str, BeyondLabels]:
    """Each MoEx beside its labels. Their share of its gain is over the seeds that all three have."""
    runs, reference = comparison.runs, comparison.runs[comparison.reference]
    others = [method for method in runs if method != comparison.reference]
    pairs = [(moex, labels) for moex in others for labels in others if is_control(labels, moex)]
    looks = [comparison.looks(moex, labels) for moex, labels in pairs]
    minus_labels = [comparison.minus(moex, labels, metric) for moex, labels in pairs]
    found = differences(minus_labels, looks, comparison.plan.margin)
    level = level_of_each(len(pairs))
    shares = [
        ratio(*_shared(runs[labels], runs[moex], reference, metric), looked, level)
        for (moex, labels), looked in zip(pairs, looks, strict=True)
    ]
    return {
        moex: BeyondLabels(labels, possible(difference, metric), share)
        for (moex, labels), difference, share in zip(pairs, found, shares, strict=True)
    }


def _shared(
    labels: Mapping[int, RunRecord], moex: Mapping[int, RunRecord], reference: Mapping[int, RunRecord], metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """The differences of both from the reference, of the seeds that all three have."""
    in_all = [seed for seed in moex if seed in labels and seed in reference]
    parts, wholes = ({seed: of[seed] for seed in in_all} for of in (labels, moex))
    return minus(parts, reference, metric), minus(wholes, reference, metric)
