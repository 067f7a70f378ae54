"""The conclusion of a comparison in plain sentences. It goes by the Holm-adjusted p, at 0.05."""

from typing import Any

_LEVEL = 0.05


def sentences(summary: dict[str, Any]) -> list[str]:
    """What the summary shows, what it does not, and what its intervals cover."""
    paired = summary["paired"]
    said = [_of_method(word, entry, summary["reference"], len(paired)) for word, entry in paired.items()]
    said += [
        _of_labels(word, entry, paired)
        for word, entry in summary["beyond_labels"].items()
        if _is_shown(paired[word]) and paired[word]["difference_mean"] < 0
    ]
    if paired and summary["test_images"] is not None:
        said += _coverage(paired, summary["test_images"])
    if len(summary["environments"]) > 1:
        said.append(f"The runs come from {len(summary['environments'])} environments, see env.json in their folders.")
    said += [f"{run['method']} seed {run['seed']} failed: {run['reason']}." for run in summary["failed"]]
    return said


def _is_shown(entry: dict[str, Any]) -> bool:
    return entry["p_holm"] is not None and entry["p_holm"] < _LEVEL


def _of_method(word: str, entry: dict[str, Any], reference: str, comparisons: int) -> str:
    mean, ci95 = entry["difference_mean"], entry["difference_ci95"]
    if mean is None:
        return f"{word}: no seed has a complete run of both {word} and {reference}."
    if entry["n"] == 1:
        return f"{word}: {mean:+.2f} points with one seed, which gives no interval and no p. Use --seeds 2 or more."
    if ci95 is None:
        return f"{word}: every seed differs from {reference} by the same {mean:+.2f} points: no spread, so no interval."
    low, high = ci95
    adjusted = f", Holm-adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    p = "p < 0.0001" if entry["p_holm"] < 1e-4 else f"p = {entry['p_holm']:.4f}"
    if not _is_shown(entry):
        gain = f"a gain of up to {-low:.2f} points" if low < 0 else "no gain"
        return f"{word}: no difference to {reference} shown ({p}{adjusted}); the interval still allows {gain}."
    verb, nearer, further = ("lowers", -high, -low) if mean < 0 else ("raises", low, high)
    return (
        f"{word} {verb} the error of {reference} by {abs(mean):.2f} points "
        f"(95% CI {nearer:.2f} to {further:.2f}; {p}{adjusted})."
    )


def _of_labels(word: str, beyond: dict[str, Any], paired: dict[str, dict[str, Any]]) -> str:
    labels = beyond["labels"]
    alone, both = paired[labels]["difference_mean"], paired[word]["difference_mean"]
    if alone is None:
        return f"{labels} has no complete runs, so the share of the labels is unknown."
    said = f"The labels alone ({labels}) give {100 * alone / both:.0f}% of the gain of {word}"
    if beyond["difference_ci95"] is None:
        return said + "."
    low, high = beyond["difference_ci95"]
    return (
        said + f"; {word} minus {labels} is {beyond['difference_mean']:+.2f} points (95% CI {low:+.2f} to {high:+.2f})."
    )


def _coverage(paired: dict[str, dict[str, Any]], test_images: int) -> list[str]:
    said = [f"The intervals cover training subsets and initializations, on these {test_images:,} test images."]
    wider = {word: entry.get("difference_ci95_with_images") for word, entry in paired.items()}
    shown = [f"{word} {ci95[0]:+.2f} to {ci95[1]:+.2f}" for word, ci95 in wider.items() if ci95 is not None]
    if shown:
        said.append(f"For other test images too, the 95% CI of the difference is: {'; '.join(shown)}.")
    return said
