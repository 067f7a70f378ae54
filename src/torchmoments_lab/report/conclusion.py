"""The conclusion of a comparison in plain sentences. It goes by the Holm-adjusted p, at 0.05."""

from collections.abc import Sequence
from typing import Any

from torchmoments_lab.metrics import NAMES
from torchmoments_lab.report.wording import failed, p_value

_LEVEL = 0.05
_FEW = 3


def sentences(summary: dict[str, Any]) -> list[str]:
    """What the summary shows, what it does not, and what its intervals cover; the headline first."""
    paired = summary["paired"]
    said = [headline(summary)]
    # With more, the table says it better.
    if 1 < len(paired) <= _FEW:
        each = [_of_method(word, entry, summary) for word, entry in paired.items()]
        said += [sentence for sentence in each if not said[0].startswith(sentence.removesuffix("."))]
    said += of_labels(summary)
    said += coverage(summary)
    if len(summary["environments"]) > 1:
        said.append(f"The runs come from {len(summary['environments'])} environments, see env.json in their folders.")
    said += map(failed, summary["failed"])
    return said


def headline(summary: dict[str, Any]) -> str:
    """The conclusion in one sentence, whatever the number of methods."""
    paired, reference = summary["paired"], summary["reference"]
    if not any(entry["n"] for entry in summary["methods"].values()):
        return "No run is complete, so nothing can be said."
    if not paired:
        return f"Only {reference} was trained, so there is nothing to compare it with."
    if len(paired) == 1:
        [(word, entry)] = paired.items()
        return _of_method(word, entry, summary)
    outcomes = {word: outcome(entry) for word, entry in paired.items()}
    gains, harms, unshown = ([w for w in paired if outcomes[w] == kind] for kind in ("gain", "harm", "not shown"))
    if gains or harms:
        return _some_shown(gains, harms, unshown, summary)
    if unshown:
        still = {word: max(0.0, -paired[word]["difference_ci95"][0]) for word in unshown}
        most = max(still, key=lambda word: still[word])
        allowed = f"the largest gain that an interval still allows is {still[most]:.2f} points ({most})"
        return (
            f"No difference to {reference} shown for {listed(unshown, 'or')} "
            f"({_evidence(min((paired[w] for w in unshown), key=lambda e: e['p_holm']), summary, 'smallest p')}); "
            f"{allowed if still[most] else 'the intervals allow no gain'}."
        )
    if any(entry["n"] == 1 for entry in paired.values()):
        return "No difference can be shown: one seed gives no interval and no p. Use --seeds 2 or more."
    if any(entry["n"] for entry in paired.values()):
        return f"No difference to {reference} can be shown: all seeds differ alike, and no spread gives no interval."
    return f"Nothing to compare: no seed has complete runs of both {reference} and another method."


def outcome(entry: dict[str, Any]) -> str:
    """ "gain", "harm" or "not shown" of an entry of `paired`; "unknown" where there is no interval."""
    if entry["p_holm"] is None:
        return "unknown"
    if entry["p_holm"] >= _LEVEL:
        return "not shown"
    return "gain" if entry["difference_mean"] < 0 else "harm"


def of_labels(summary: dict[str, Any]) -> list[str]:
    """For each MoEx with a shown gain: how much of it the labels alone give."""
    paired = summary["paired"]
    return [
        _of_labels(word, beyond, paired)
        for word, beyond in summary["beyond_labels"].items()
        if outcome(paired[word]) == "gain"
    ]


def coverage(summary: dict[str, Any]) -> list[str]:
    """What the intervals are about, and with few test images what they become when these are a sample too."""
    paired, test_images = summary["paired"], summary["test_images"]
    if not paired or test_images is None:
        return []
    settings = summary.get("settings", {})
    takes_all = str(settings.get("images")).startswith(f"{settings.get('train_size')} + ")
    varied = "orders of the batches" if takes_all else "training subsets"
    new = settings.get("new_weights")
    initial = {None: " and initializations", "none": ""}.get(new, f" and initializations of {new}")
    said = [f"The intervals cover {varied}{initial}, on these {test_images:,} {judged(summary)} images."]
    if new == "none":
        said.append("Every seed starts from the same weights.")
    wider = {word: entry.get("difference_ci95_with_images") for word, entry in paired.items()}
    shown = [f"{word} {ci95[0]:+.2f} to {ci95[1]:+.2f}" for word, ci95 in wider.items() if ci95 is not None]
    if 0 < len(shown) <= _FEW:
        said.append(f"For other {judged(summary)} images too, the 95% CI of the difference is: {'; '.join(shown)}.")
    return said


def judged(summary: dict[str, Any]) -> str:
    """Which images the errors are of: "test" or "validation"."""
    return str(summary.get("settings", {}).get("evaluate", "test"))


def metric_name(summary: dict[str, Any]) -> str:
    """The metric in words: an error in percent, the lower the better."""
    return NAMES[summary.get("metric", "error")]


def share_of_labels(beyond: dict[str, Any], moex: dict[str, Any]) -> str | None:
    """How much of the gain of MoEx its labels alone give, of its entries in `beyond_labels` and in `paired`; None where
    no gain is shown, or no seed has all three."""
    share, ci95 = beyond["share"], beyond["share_ci95"]
    if outcome(moex) != "gain" or share is None:
        return None
    interval = "no interval" if ci95 is None else f"95% CI {100 * ci95[0]:.0f} to {100 * ci95[1]:.0f}%"
    return f"{100 * share:.0f}% ({interval})"


def _some_shown(gains: list[str], harms: list[str], unshown: list[str], summary: dict[str, Any]) -> str:
    name, reference, paired = metric_name(summary), summary["reference"], summary["paired"]
    shown = gains or harms
    entries = [paired[word] for word in shown]
    verb = "lower" if gains else "raise"
    if len(shown) == 1:
        said = [f"{shown[0]} {verb}s the {name} of {reference} by {_size(entries[0], summary)}"]
    else:
        sizes = [f"{abs(entry['difference_mean']):.2f}" for entry in entries]
        by = f"{min(sizes, key=float)} to {max(sizes, key=float)}" if len(sizes) > _FEW else listed(sizes, "and")
        weakest = _evidence(max(entries, key=lambda entry: entry["p_holm"]), summary, "largest p")
        said = [f"{listed(shown, 'and')} {verb} the {name} of {reference} by {by} points ({weakest})"]
    if gains and harms:
        said.append(f"{listed(harms, 'and')} {'raises' if len(harms) == 1 else 'raise'} it")
    if unshown:
        said.append(f"no difference is shown for {listed(unshown, 'or')}")
    return "; ".join(said) + "."


def _of_method(word: str, entry: dict[str, Any], summary: dict[str, Any]) -> str:
    mean, ci95, reference = entry["difference_mean"], entry["difference_ci95"], summary["reference"]
    if mean is None:
        return f"{word}: no seed has a complete run of both {word} and {reference}."
    if entry["n"] == 1:
        return f"{word}: {mean:+.2f} points with one seed, which gives no interval and no p. Use --seeds 2 or more."
    if ci95 is None:
        return f"{word}: every seed differs from {reference} by the same {mean:+.2f} points: no spread, so no interval."
    if outcome(entry) == "not shown":
        gain = f"a gain of up to {-ci95[0]:.2f} points" if ci95[0] < 0 else "no gain"
        return (
            f"{word}: no difference to {reference} shown ({_evidence(entry, summary)}); "
            f"the interval still allows {gain}."
        )
    verb = "lowers" if mean < 0 else "raises"
    return f"{word} {verb} the {metric_name(summary)} of {reference} by {_size(entry, summary)}."


def _size(entry: dict[str, Any], summary: dict[str, Any]) -> str:
    nearer, further = sorted(abs(end) for end in entry["difference_ci95"])
    evidence = _evidence(entry, summary)
    return f"{abs(entry['difference_mean']):.2f} points (95% CI {nearer:.2f} to {further:.2f}; {evidence})"


def _evidence(entry: dict[str, Any], summary: dict[str, Any], name: str = "p") -> str:
    comparisons = len(summary["paired"])
    adjusted = f", Holm-adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    p = p_value(entry["p_holm"])
    return f"{name} {p.replace('<', '< ') if p.startswith('<') else f'= {p}'}{adjusted}"


def listed(words: Sequence[str], last: str) -> str:
    """a, b and c; only their number where there are more."""
    if len(words) > _FEW:
        return f"{len(words)} methods" if last == "and" else f"any of {len(words)} methods"
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _of_labels(word: str, beyond: dict[str, Any], paired: dict[str, dict[str, Any]]) -> str:
    labels = beyond["labels"]
    share = share_of_labels(beyond, paired[word])
    if share is None:
        return f"{labels} has no complete runs of the seeds of {word}, so the share of the labels is unknown."
    said = f"The labels alone ({labels}) give {share} of the gain of {word}"
    if beyond["difference_ci95"] is None:
        return said + "."
    low, high = beyond["difference_ci95"]
    return (
        said + f"; {word} minus {labels} is {beyond['difference_mean']:+.2f} points (95% CI {low:+.2f} to {high:+.2f})."
    )
