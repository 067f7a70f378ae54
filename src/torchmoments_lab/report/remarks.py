"""What has to be said beside the conclusion: what the intervals cover, how results were looked at, which seeds are far
off, and what would show a difference that is not shown."""

from torchmoments_lab.report.summary import Summary
from torchmoments_lab.report.wording import FEW, ends, listed, spans
from torchmoments_lab.typed import counted


def of_all(summary: Summary) -> list[str]:
    """Those that say more than the headline."""
    return [
        *incomplete(summary),
        *coverage(summary),
        *chosen_later(summary),
        *looked(summary),
        *collapsed(summary),
        *advice(summary),
    ]


def notes(summary: Summary) -> list[str]:
    """Those that a reader of the headline must not miss."""
    found = [*summary.on_images(), *chosen_later(summary), *looked(summary), *collapsed(summary)]
    if "copies" in summary.settings:
        found.append(
            f"{summary.split.capitalize()} images that are also training images, pixel for pixel: "
            f"{summary.settings['copies']}. Errors on new images are higher."
        )
    found += incomplete(summary)
    if len(summary.environments) > 1:
        found.append(f"The runs come from {len(summary.environments)} environments, see below.")
    return found


def incomplete(summary: Summary) -> list[str]:
    """How many runs are missing, if some are; a difference is over the seeds that both methods have."""
    failed, missing = len(summary.failed), sum(map(len, summary.missing.values()))
    if not failed and not missing:
        return []
    counts = [f"{failed} failed"] * bool(failed) + [f"{missing} not trained yet"] * bool(missing)
    complete = sum(error.n for error in summary.errors.values())
    verb = "is" if complete == 1 else "are"
    return [
        f"{complete} of {complete + failed + missing} runs {verb} complete: {' and '.join(counts)}. Each difference is "
        "over the seeds that both have."
    ]


def coverage(summary: Summary) -> list[str]:
    """What the intervals are about, if there are any."""
    found = [*summary.errors.values(), *summary.differences.values()]
    if not summary.paired or summary.images is None or all(of.ci95 is None for of in found):
        return []
    settings = summary.settings
    takes_all = str(settings.get("images")).startswith(f"{settings.get('train_size')} + ")
    varied = "orders of the batches" if takes_all else "training subsets"
    new = settings.get("new_weights")
    initial = " and initializations" if new is None else "" if new == "none" else f" and initializations of {new}"
    images = counted(summary.images, f"{summary.split} image")
    images = f", and other images than these {images}" if summary.covers_images else f", on these {images} alone"
    same = ["Every seed starts from the same weights."] if new == "none" else []
    return [f"The intervals cover other {varied}{initial}{images}.", *same]


def no_better_than_one_class(summary: Summary) -> list[str]:
    """A reference that may have learned nothing."""
    error, chance = summary.errors[summary.reference], summary.chance
    if error.ci95 is None or chance is None or error.ci95[1] < chance:
        return []
    return [
        f"{summary.reference} is not shown to be better than always naming the most frequent class, whose "
        f"{summary.metric_name} is {chance:.1f}%: what is compared with it may mean nothing."
    ]


def chosen_later(summary: Summary) -> list[str]:
    """That another metric was to be compared."""
    declared = summary.settings.get("metric_declared")
    if declared is None:
        return []
    return [f"The comparison was begun with the metric {declared}; {summary.metric} was chosen for this report alone."]


def looked(summary: Summary) -> list[str]:
    """How results were looked at while seeds were added."""
    grown = {method: entry for method, entry in summary.paired.items() if entry.grown}
    if grown:
        steps = sorted({seeds for entry in grown.values() for seeds in entry.grown})
        wide = max((entry.times_as_wide_grown or 0.0 for entry in grown.values()), default=0.0)
        price = "with so few seeds they have no end yet"
        if wide:
            price = f"the price is intervals up to {wide:.1f} times as wide as with a single look"
        return [
            f"Seeds were added without a plan ({', '.join(map(str, steps))}), so the intervals and p of "
            f"{listed(list(grown), 'and')} hold however often one looks; {price}."
        ]
    if not summary.looks or not summary.paired:
        return []
    plan = f"Intervals and p allow for the planned looks at {', '.join(map(str, summary.looks))} seeds"
    open_yet = [method for method in summary.paired if summary.is_open(method)]
    if open_yet:
        verb = "is" if len(open_yet) == 1 else "are"
        return [f"{plan}. {listed(open_yet, 'and')} {verb} not decided yet: rerun the command."]
    reached = min(entry.look or 0 for entry in summary.paired.values())
    if reached == summary.looks[-1]:
        return [f"{plan}."]
    hopeless = [method for method, entry in summary.paired.items() if entry.hopeless]
    why = f"for {listed(hopeless, 'and')} more would hardly decide" if hopeless else "every comparison is decided"
    return [f"{plan}. It ended at {reached}: {why}."]


def collapsed(summary: Summary) -> list[str]:
    """Seeds that are far off, and the differences that they do not spoil."""
    found = []
    for name, method in summary.methods.items():
        if method.collapsed:
            seeds = spans(method.collapsed)
            found.append(f"{name} collapsed with {'seed' if len(method.collapsed) == 1 else 'seeds'} {seeds}.")
    differences = [
        f"{name} {entry.trimmed.mean:+.2f}"
        + ("" if entry.trimmed.ci95 is None else f" (95% CI {ends(entry.trimmed.ci95)})")
        for name, entry in summary.paired.items()
        if entry.trimmed is not None
    ]
    if differences:
        found.append(
            "With such seeds an interval of the mean covers less than it says. Without the lowest and the highest "
            f"fifth of the seeds the difference from {summary.reference} is: {'; '.join(differences)} points."
        )
    return found


def advice(summary: Summary) -> list[str]:
    """What would show a difference that is not shown; the first sentence says where its size comes from."""
    open_yet = [method for method, found in summary.differences.items() if found.outcome == "not shown"]
    found: list[str] = []
    for method in open_yet[:FEW]:
        sentence = _needs(method, summary, "" if found else size_from(summary))
        found += [sentence] if sentence else []
    return found


def size_from(summary: Summary) -> str:
    """Where the size of a difference that is to be shown comes from, if nobody named one."""
    return "" if summary.margin else f" (a tenth of the {summary.metric_name} of {summary.reference})"


def _needs(method: str, summary: Summary, origin: str) -> str | None:
    """How many more seeds or images a method needs; None if that is unknown.

    Args:
        origin: of the size of the difference, to be said behind it.
    """
    entry, n = summary.paired[method], summary.differences[method].n
    if entry.needed is None or summary.images is None or summary.is_open(method):
        return None
    seeds, images, points = entry.needed.seeds, entry.needed.images, counted(entry.needed.points, "point") + origin
    adjusted = summary.differences[method].ci95_adjusted
    if adjusted is not None and adjusted[0] > -entry.needed.points:
        return f"{method}: a gain of {points} or more is ruled out."
    if seeds is not None and seeds <= n:
        return f"{method}: a difference of {points} would most likely have been shown."
    ways = [] if seeds is None else [f"about {counted(seeds - n, 'more seed')}"]
    if seeds is not None and summary.looks:
        # The folder keeps to its plan.
        ways = [f"a new plan of about {counted(seeds, 'seed')}"]
    if images is not None and images > summary.images:
        ways.append(f"about {counted(images - summary.images, f'more {summary.split} image')}")
    if not ways:
        return f"{method}: to show a difference of {points} takes both more seeds and more {summary.split} images."
    would = f"{method}: {' or '.join(ways)} would show a difference of {points}"
    return f"{would}; more seeds alone would not." if seeds is None else f"{would}."
