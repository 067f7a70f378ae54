"""The section of a report on its intervals: what they cover, what pairing is worth, and what would show more."""

from torchmoments_lab.report import remarks, wording
from torchmoments_lab.report.page import Block, Section, Table, Text
from torchmoments_lab.report.summary import SETTLED, Needed, Summary
from torchmoments_lab.typed import counted


def section(summary: Summary) -> Section:
    needed = next((entry.needed for entry in summary.paired.values() if entry.needed is not None), None)
    blocks: list[Block] = [Text(sentence) for sentence in remarks.coverage(summary)[:1]]
    if not blocks or needed is None:
        return Section("What the intervals cover", blocks)
    columns = {"Without pairing as wide": _unpaired, "Seeds in all": _seeds}
    if summary.covers_images:
        columns = {"On these images alone": _these_images, **columns, "Images in all": _images}
    rows = [[name, *(cell(summary, name) for cell in columns.values())] for name in summary.paired]
    points = counted(needed.points, "point") + remarks.size_from(summary)
    caption = f"The interval without pairing, and what would show a difference of {points} with 80% power"
    said = "Roughly, and one number at a time: the other stays as it is."
    if summary.covers_images:
        caption = f"The interval for other seeds on these images alone; {caption[0].lower()}{caption[1:]}"
        said = (
            "The interval on these images alone is not used for the verdict: others would change more. With few seeds, "
            f"from which alone it is estimated, it may be the wider one. {said}"
        )
    blocks += [Table(caption, ["Method", *columns], rows), Text(said), *map(Text, remarks.advice(summary))]
    return Section("What the intervals cover, and what more would show", blocks)


def _these_images(summary: Summary, method: str) -> str:
    return wording.interval(summary.differences[method].ci95_these_images, "+")


def _unpaired(summary: Summary, method: str) -> str:
    times = summary.paired[method].times_as_wide_unpaired
    return wording.NONE if times is None else f"{times:.1f} times"


def _seeds(summary: Summary, method: str) -> str:
    needed = _open(summary, method)
    return wording.NONE if needed is None else _in_all(needed.seeds, summary.differences[method].n)


def _images(summary: Summary, method: str) -> str:
    needed = _open(summary, method)
    return wording.NONE if needed is None else _in_all(needed.images, summary.images or 0)


def _open(summary: Summary, method: str) -> Needed | None:
    """What a difference needs that is not decided yet."""
    is_needed = summary.differences[method].outcome not in SETTLED and not summary.is_open(method)
    return summary.paired[method].needed if is_needed else None


def _in_all(wanted: int | None, now: int) -> str:
    return "never" if wanted is None else f"{wanted:,}" if wanted > now else "enough"
