"""The conclusion of a comparison in plain sentences. It goes by the adjusted intervals."""

from torchmoments_lab.report import remarks
from torchmoments_lab.report.summary import SETTLED, BeyondLabels, Summary
from torchmoments_lab.report.wording import FEW, ends, listed, p_value, seeds
from torchmoments_lab.statistics.values import LEAST_SEEDS, Difference, Estimate, Interval

_TOO_FEW = "No difference can be shown: intervals and p need three seeds or more."


def sentences(summary: Summary) -> list[str]:
    """What the summary shows, what it does not, and what its intervals cover; the headline first."""
    first = [headline(summary), *remarks.no_better_than_one_class(summary)]
    return [*first, *of_each(summary), *of_labels(summary), *remarks.of_all(summary), *summary.on_runs()]


def of_each(summary: Summary) -> list[str]:
    """A sentence on each method, as far as the headline does not say it. With more, the table says it better."""
    first = headline(summary)
    if first == _TOO_FEW:
        return []
    each = [_of_method(method, summary) for method in summary.paired] if 1 < len(summary.paired) <= FEW else []
    return [sentence for sentence in each if not first.startswith(sentence.removesuffix("."))]


def notes(summary: Summary) -> list[str]:
    """What a reader of the headline must not miss."""
    return [*remarks.no_better_than_one_class(summary), *of_labels(summary), *remarks.notes(summary)]


def headline(summary: Summary) -> str:
    """The conclusion in one sentence, whatever the number of methods."""
    reference, differences = summary.reference, summary.differences
    if not any(error.n for error in summary.errors.values()):
        return "No run is complete, so nothing can be concluded."
    if len(differences) == 1:
        return _of_method(next(iter(differences)), summary)
    gains, harms, alike, unshown = (
        [method for method, difference in differences.items() if difference.outcome == kind]
        for kind in (*SETTLED, "not shown")
    )
    if gains or harms:
        return _some_shown(gains, harms, alike, unshown, summary)
    if alike and not unshown:
        matters = f"No difference from {reference} that matters, of {summary.margin:g} points: {listed(alike, 'and')}"
        return f"{matters}{_unknown(summary)}."
    if unshown:
        nearest = min((differences[method] for method in [*alike, *unshown]), key=_p)
        still = {method: -_adjusted(differences[method])[0] for method in [*alike, *unshown]}
        most = max(still, key=lambda method: still[method])
        allowed = "the intervals allow no gain"
        if still[most] > 0:
            largest = _gain(still[most], summary)
            allowed = f"the largest gain that an interval still allows is {largest} ({most})"
        if still[most] == _ENDLESS:
            allowed = "with so few seeds not all intervals have an end yet"
        return (
            f"No difference from {reference} is shown for {listed([*alike, *unshown], 'or')} "
            f"({_evidence(nearest, summary, 'smallest p')}); {allowed}{_unknown(summary)}."
        )
    numbers = [difference.n for difference in differences.values()]
    if not numbers:
        return f"Only {reference} was trained, so there is nothing to compare it with."
    if any(0 < n < LEAST_SEEDS for n in numbers):
        return _TOO_FEW
    if any(numbers):
        return f"No difference from {reference} can be shown: there is no spread, which gives no interval."
    return f"Nothing to compare: no seed has complete runs of both {reference} and another method."


def of_labels(summary: Summary) -> list[str]:
    """For each MoEx: how much of its gain the labels alone give; of those for which it cannot be told, one sentence."""
    told: dict[str, BeyondLabels] = {}
    untold: dict[str, BeyondLabels] = {}
    for method, beyond in summary.beyond_labels.items():
        may_be_0 = beyond.share.mean is not None and beyond.share.n >= LEAST_SEEDS and beyond.share.ci95 is None
        (untold if may_be_0 and beyond.difference.ci95_adjusted else told)[method] = beyond
    if len(untold) == 1:
        told, untold = dict(summary.beyond_labels), {}
    found = [_of_labels(method, beyond, summary) for method, beyond in told.items()]
    if untold:
        differences = (
            f"{method} minus {beyond.labels} {beyond.difference.mean:+.2f} ({ends(beyond.difference.ci95_adjusted)})"
            for method, beyond in untold.items()
            if beyond.difference.ci95_adjusted is not None
        )
        found.append(
            f"Which share of a difference its labels alone give cannot be told for {listed(list(untold), 'and')}: the "
            f"differences may be 0. In points, with simultaneous 95% CIs: {'; '.join(differences)}."
        )
    return found


def share_of_labels(share: Estimate) -> str:
    """How much of the gain of MoEx its labels alone give."""
    if share.mean is None or share.ci95 is None:
        return "cannot be told"
    return f"{100 * share.mean:.0f}% (95% CI {100 * share.ci95[0]:.0f} to {100 * share.ci95[1]:.0f}%)"


def _some_shown(gains: list[str], harms: list[str], alike: list[str], unshown: list[str], summary: Summary) -> str:
    shown = gains or harms
    differences = [summary.differences[method] for method in shown]
    if len(shown) == 1:
        found = [_of_method(shown[0], summary).removesuffix(".")]
    else:
        sizes = [f"{abs(difference.mean or 0):.2f}" for difference in differences]
        by = f"{min(sizes, key=float)} to {max(sizes, key=float)}" if len(sizes) > FEW else listed(sizes, "and")
        weakest = _evidence(max(differences, key=_p), summary, "largest p")
        found = [
            f"{listed(shown, 'and')} {'lower' if gains else 'raise'} the {summary.metric_name} by {by} points "
            f"compared with {summary.reference} ({weakest})"
        ]
    if gains and harms:
        found.append(f"{listed(harms, 'and')} {'raises' if len(harms) == 1 else 'raise'} it")
    if alike:
        found.append(f"no difference that matters for {listed(alike, 'and')}")
    if unshown:
        found.append(f"no difference is shown for {listed(unshown, 'or')}")
    return "; ".join(found) + _unknown(summary) + "."


def _unknown(summary: Summary) -> str:
    """Which methods the headline says nothing of."""
    unknown = [method for method, difference in summary.differences.items() if difference.outcome == "unknown"]
    return f"; {listed(unknown, 'and')} {'has' if len(unknown) == 1 else 'have'} no interval" if unknown else ""


def _of_method(method: str, summary: Summary) -> str:
    difference, reference = summary.differences[method], summary.reference
    mean, adjusted = difference.mean, difference.ci95_adjusted
    if mean is None:
        return f"{method}: no seed has a complete run of both {method} and {reference}."
    if difference.n < LEAST_SEEDS:
        return f"{method}: {mean:+.2f} points with {seeds(difference.n)}; an interval and p need three seeds or more."
    if difference.p_value is None:
        if mean == 0:
            return f"{method}: the same error as {reference} with every seed: no spread, no interval."
        return f"{method}: every seed differs from {reference} by the same {mean:+.2f} points: no spread, no interval."
    if adjusted is None:
        return f"{method}: no difference from {reference} is shown; with so few seeds the interval has no end yet."
    if difference.outcome == "no difference that matters":
        return (
            f"{method}: no difference from {reference} that matters: {_confidence(summary)} {ends(adjusted)}, within "
            f"{summary.margin:g} points of 0."
        )
    if difference.outcome == "not shown":
        gain = f"a gain of up to {_gain(-adjusted[0], summary)}" if adjusted[0] < 0 else "no gain"
        return (
            f"{method}: no difference from {reference} is shown ({_evidence(difference, summary)}); "
            f"the interval still allows {gain}."
        )
    nearer, further = sorted(abs(end) for end in adjusted)
    return (
        f"{method} {'lowers' if mean < 0 else 'raises'} the {summary.metric_name} by {abs(mean):.2f} points compared "
        f"with {reference} ({_confidence(summary)} {nearer:.2f} to {further:.2f}; {_evidence(difference, summary)})."
    )


def _gain(points: float, summary: Summary) -> str:
    """How large it may be; no more than all that there is."""
    error = summary.errors[summary.reference].mean or 0.0
    return f"{points:.2f} points" if points < error else f"all of the {summary.metric_name} of {summary.reference}"


def _confidence(summary: Summary) -> str:
    return "95% CI" if summary.comparisons == 1 else "simultaneous 95% CI"


def _evidence(difference: Difference, summary: Summary, name: str = "p") -> str:
    adjusted = f", adjusted for {summary.comparisons} comparisons" if summary.comparisons > 1 else ""
    p = p_value(difference.p_adjusted)
    return f"{name} {p.replace('<', '< ') if p.startswith('<') else f'= {p}'}{adjusted}"


def _of_labels(method: str, beyond: BeyondLabels, summary: Summary) -> str:
    if beyond.share.mean is None and beyond.share.n:
        return f"{method} has the error of {summary.reference}, so there is no gain for the labels to have a share of."
    if beyond.share.mean is None:
        return f"{beyond.labels} has no complete runs of the seeds of {method}, so the share of the labels is unknown."
    what = "gain" if (summary.differences[method].mean or 0) < 0 else "difference"
    found = f"The labels alone ({beyond.labels}) give {share_of_labels(beyond.share)} of the {what} of {method}"
    if beyond.share.ci95 is None:
        why = "an interval needs three seeds" if beyond.share.n < LEAST_SEEDS else f"the {what} may be 0"
        found = f"Which share of the {what} of {method} its labels alone ({beyond.labels}) give cannot be told: {why}"
    adjusted = beyond.difference.ci95_adjusted
    if adjusted is None:
        return found + "."
    confidence = "95% CI" if len(summary.beyond_labels) == 1 else "simultaneous 95% CI"
    interval = f"{beyond.difference.mean:+.2f} points ({confidence} {ends(adjusted)})"
    return f"{found}; {method} minus {beyond.labels} is {interval}."


def _p(difference: Difference) -> float:
    """Of a difference whose outcome is known."""
    return 1.0 if difference.p_adjusted is None else difference.p_adjusted


_ENDLESS = float("inf")


def _adjusted(difference: Difference) -> Interval:
    return difference.ci95_adjusted or (-_ENDLESS, _ENDLESS)
