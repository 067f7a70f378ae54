"""The conclusion of a comparison in plain sentences. It goes by the Holm-adjusted p, at 0.05."""

from collections.abc import Sequence

from torchmoments_lab.report.summary import BeyondLabels, Summary
from torchmoments_lab.report.wording import p_value
from torchmoments_lab.statistics import Difference, Interval

_FEW = 3


def sentences(summary: Summary) -> list[str]:
    """What the summary shows, what it does not, and what its intervals cover; the headline first."""
    first = headline(summary)
    # With more, the table says it better.
    each = [_of_method(method, summary) for method in summary.paired] if 1 < len(summary.paired) <= _FEW else []
    each = [sentence for sentence in each if not first.startswith(sentence.removesuffix("."))]
    return [first, *each, *of_labels(summary), *coverage(summary), *summary.on_runs()]


def headline(summary: Summary) -> str:
    """The conclusion in one sentence, whatever the number of methods."""
    reference = summary.reference
    differences = {method: entry.difference for method, entry in summary.paired.items()}
    if not any(method.error.n for method in summary.methods.values()):
        return "No run is complete, so nothing can be concluded."
    if len(differences) == 1:
        return _of_method(next(iter(differences)), summary)
    gains, harms, unshown = (
        [method for method, difference in differences.items() if difference.outcome == kind]
        for kind in ("gain", "harm", "not shown")
    )
    if gains or harms:
        return _some_shown(gains, harms, unshown, summary)
    if unshown:
        nearest = min((differences[method] for method in unshown), key=_p_holm)
        still = {method: -_interval(differences[method])[0] for method in unshown}
        most = max(still, key=lambda method: still[method])
        allowed = f"the largest gain that an interval still allows is {still[most]:.2f} points ({most})"
        return (
            f"No difference from {reference} is shown for {listed(unshown, 'or')} "
            f"({_evidence(nearest, summary, 'smallest p')}); "
            f"{allowed if still[most] > 0 else 'the intervals allow no gain'}."
        )
    numbers = [difference.n for difference in differences.values()]
    if not numbers:
        return f"Only {reference} was trained, so there is nothing to compare it with."
    if 1 in numbers:
        return "No difference can be shown: one seed gives no interval and no p. Use --seeds 2 or more."
    if any(numbers):
        return f"No difference from {reference} can be shown: all seeds differ alike, and no spread gives no interval."
    return f"Nothing to compare: no seed has complete runs of both {reference} and another method."


def of_labels(summary: Summary) -> list[str]:
    """For each MoEx with a shown gain: how much of it the labels alone give."""
    return [
        _of_labels(method, beyond, summary)
        for method, beyond in summary.beyond_labels.items()
        if summary.paired[method].difference.outcome == "gain"
    ]


def coverage(summary: Summary) -> list[str]:
    """What the intervals are about, and with few test images what they become if these are a sample too."""
    if not summary.paired or summary.images is None:
        return []
    settings = summary.settings
    takes_all = str(settings.get("images")).startswith(f"{settings.get('train_size')} + ")
    varied = "orders of the batches" if takes_all else "training subsets"
    new = settings.get("new_weights")
    initial = " and initializations" if new is None else "" if new == "none" else f" and initializations of {new}"
    found = [f"The intervals cover {varied}{initial}, on these {summary.images:,} {summary.split} images."]
    if new == "none":
        found.append("Every seed starts from the same weights.")
    wider = {method: entry.difference_ci95_with_images for method, entry in summary.paired.items()}
    shown = [f"{method} {_signed(ci95)}" for method, ci95 in wider.items() if ci95 is not None]
    if 0 < len(shown) <= _FEW:
        found.append(f"For other {summary.split} images too, the 95% CI of the difference is: {'; '.join(shown)}.")
    return found


def notes(summary: Summary, was_extended: bool) -> list[str]:
    """What a reader of the conclusion must not miss."""
    found = of_labels(summary)
    unsure = [
        f"{name} {_signed(ci95)}"
        for name, entry in summary.paired.items()
        if entry.difference.outcome in ("gain", "harm") and (ci95 := entry.difference_ci95_with_images)
        if ci95[0] <= 0 <= ci95[1]
    ]
    if unsure:
        found.append(
            f"Shown for these {summary.images:,} {summary.split} images only. For other images too, the interval of "
            f"the difference reaches both sides of 0: {'; '.join(unsure)} points."
        )
    if "copies" in summary.settings:
        found.append(
            f"{summary.settings['copies']} {summary.split} images are also training images, pixel for pixel: errors on "
            "new images are higher."
        )
    failed, missing = len(summary.failed), sum(map(len, summary.missing.values()))
    if failed or missing:
        counts = [f"{failed} failed"] * bool(failed) + [f"{missing} not trained yet"] * bool(missing)
        complete = sum(method.error.n for method in summary.methods.values())
        found.append(f"{complete} of {complete + failed + missing} runs are complete: {' and '.join(counts)}.")
    if was_extended and summary.paired:
        found.append(
            "Seeds or methods were added to this comparison later. If that was decided after a look at the results, "
            "the p values are too small."
        )
    if len(summary.environments) > 1:
        found.append(f"The runs come from {len(summary.environments)} environments, see below.")
    return found


def share_of_labels(beyond: BeyondLabels, moex: Difference) -> str | None:
    """How much of the gain of MoEx its labels alone give; None if no gain is shown, or no seed has all three."""
    share, ci95 = beyond.share.mean, beyond.share.ci95
    if moex.outcome != "gain" or share is None:
        return None
    interval = "no interval" if ci95 is None else f"95% CI {100 * ci95[0]:.0f} to {100 * ci95[1]:.0f}%"
    return f"{100 * share:.0f}% ({interval})"


def listed(methods: Sequence[str], last: str) -> str:
    """a, b and c; only their number if there are more."""
    if len(methods) > _FEW:
        return f"{len(methods)} methods" if last == "and" else f"any of {len(methods)} methods"
    return f" {last} ".join(filter(None, [", ".join(methods[:-1]), methods[-1]]))


def _some_shown(gains: list[str], harms: list[str], unshown: list[str], summary: Summary) -> str:
    shown = gains or harms
    differences = [summary.paired[method].difference for method in shown]
    if len(shown) == 1:
        found = [_of_method(shown[0], summary).removesuffix(".")]
    else:
        sizes = [f"{abs(difference.mean or 0):.2f}" for difference in differences]
        by = f"{min(sizes, key=float)} to {max(sizes, key=float)}" if len(sizes) > _FEW else listed(sizes, "and")
        weakest = _evidence(max(differences, key=_p_holm), summary, "largest p")
        found = [
            f"{listed(shown, 'and')} {'lower' if gains else 'raise'} the {summary.metric_name} by {by} points "
            f"compared with {summary.reference} ({weakest})"
        ]
    if gains and harms:
        found.append(f"{listed(harms, 'and')} {'raises' if len(harms) == 1 else 'raise'} it")
    if unshown:
        found.append(f"no difference is shown for {listed(unshown, 'or')}")
    return "; ".join(found) + "."


def _of_method(method: str, summary: Summary) -> str:
    difference, reference = summary.paired[method].difference, summary.reference
    mean, ci95 = difference.mean, difference.ci95
    if mean is None:
        return f"{method}: no seed has a complete run of both {method} and {reference}."
    if difference.n == 1:
        return f"{method}: {mean:+.2f} points with one seed, which gives no interval and no p. Use --seeds 2 or more."
    if ci95 is None:
        return f"{method}: every seed differs from {reference} by the same {mean:+.2f} points: no spread, no interval."
    if difference.outcome == "not shown":
        gain = f"a gain of up to {-ci95[0]:.2f} points" if ci95[0] < 0 else "no gain"
        return (
            f"{method}: no difference from {reference} is shown ({_evidence(difference, summary)}); "
            f"the interval still allows {gain}."
        )
    nearer, further = sorted(abs(end) for end in ci95)
    return (
        f"{method} {'lowers' if mean < 0 else 'raises'} the {summary.metric_name} by {abs(mean):.2f} points compared "
        f"with {reference} (95% CI {nearer:.2f} to {further:.2f}; {_evidence(difference, summary)})."
    )


def _evidence(difference: Difference, summary: Summary, name: str = "p") -> str:
    comparisons = len(summary.paired)
    adjusted = f", Holm-adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    p = p_value(difference.p_holm)
    return f"{name} {p.replace('<', '< ') if p.startswith('<') else f'= {p}'}{adjusted}"


def _of_labels(method: str, beyond: BeyondLabels, summary: Summary) -> str:
    share = share_of_labels(beyond, summary.paired[method].difference)
    if share is None:
        return f"{beyond.labels} has no complete runs of the seeds of {method}, so the share of the labels is unknown."
    found = f"The labels alone ({beyond.labels}) give {share} of the gain of {method}"
    if beyond.difference.ci95 is None:
        return found + "."
    interval = f"{beyond.difference.mean:+.2f} points (95% CI {_signed(beyond.difference.ci95)})"
    return f"{found}; {method} minus {beyond.labels} is {interval}."


def _signed(ci95: Interval) -> str:
    return f"{ci95[0]:+.2f} to {ci95[1]:+.2f}"


def _p_holm(difference: Difference) -> float:
    """Of a difference whose outcome is known."""
    return 1.0 if difference.p_holm is None else difference.p_holm


def _interval(difference: Difference) -> Interval:
    return difference.ci95 or (0.0, 0.0)
