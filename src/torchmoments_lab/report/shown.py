"""The sections of a report that show images: as the network gets them, and those on which the methods differ."""

from collections.abc import Mapping, Sequence

import numpy as np

from torchmoments_lab.report import wording
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.figures import picture_rows
from torchmoments_lab.report.images import Images
from torchmoments_lab.report.page import Block, Picture, Section, Table, Text
from torchmoments_lab.report.runs import Comparison, RunRecord
from torchmoments_lab.report.summary import Summary
from torchmoments_lab.settings import Setting

_IN_A_ROW = 8
# Methods whose pictures are shown; a page of more is not read.
_METHODS = 4


def inputs(comparison: Comparison, summary: Summary) -> Section:
    """Training and test images as the network gets them."""
    title, images = "What the network sees", comparison.images
    if images is None or images.training_shown is None:
        return Section(title, [])
    rows = [("training images", images.training_pictures(_IN_A_ROW))]
    # From all over the test set, which is often sorted by class.
    spread = np.linspace(0, images.number - 1, min(_IN_A_ROW, images.number)).astype(int).tolist()
    if images.test is not None:
        rows.append((f"{summary.split} images", images.pictures(spread)))
    drawing = draw("inputs", lambda: picture_rows(rows))
    said = _prepared(summary.settings)
    return Section(title, [Picture("inputs", f"Some {' and '.join(name for name, _ in rows)}.", drawing), Text(said)])


def _prepared(settings: Mapping[str, Setting]) -> str:
    """How they were prepared, in a sentence."""
    size = settings.get("image_size")
    parts = [f"{size} x {size} pixels"] if size else []
    if settings.get("augment"):
        scale, flips, rotation = (settings.get(name) for name in ("crop_scale", "flips", "rotation"))
        ways = {"horizontal": "mirrored left to right", "vertical": "turned upside down", "both": "mirrored both ways"}
        changes = [
            "shifted by up to 4 pixels"
            if scale is None
            else f"crops of {100 * float(str(scale)):g}% of the area or more",
            *([ways[str(flips)]] if flips in ways else []),
            *([f"turned by up to {rotation:g} degrees"] if rotation else []),
        ]
        parts.append(f"training images: {', '.join(changes)}")
    else:
        parts.append("no augmentation")
    crop = settings.get("test_crop", 1.0)
    if crop != 1.0:
        parts.append(f"of test pictures the middle {100 * float(str(crop)):g}% of the side")
    for name in ("mean", "std"):
        numbers = settings.get(name)
        if isinstance(numbers, list) and numbers:
            parts.append(f"{name} {' '.join(f'{number:.3g}' for number in numbers)}")
    return f"{'; '.join(parts)}."[:1].upper() + f"{'; '.join(parts)}."[1:]


def changes(comparison: Comparison, summary: Summary) -> Section:
    """The test images that a method gets right more often than the reference, and those that it gets wrong."""
    title, images = "Picture by picture", comparison.images
    blocks: list[Block] = []
    if images is None:
        return Section(title, [])
    methods = [method for method in summary.paired if summary.differences[method].n]
    # Where there are many, those with something to show.
    methods.sort(key=lambda method: summary.differences[method].outcome not in ("gain", "harm"))
    for method in methods[:_METHODS]:
        blocks += _changed(comparison.runs[method], comparison.runs[summary.reference], method, summary, images)
    if len(methods) > _METHODS:
        blocks.append(Text(f"Those of {len(methods) - _METHODS} more methods are not shown."))
    if blocks:
        blocks.append(
            Text(
                "Counted are seeds. An image near the border between classes changes sides by chance, too: what two "
                "methods do to a single image says little, what the images have in common may say more."
            )
        )
    return Section(title, blocks)


def _changed(
    runs: Mapping[int, RunRecord], others: Mapping[int, RunRecord], method: str, summary: Summary, images: Images
) -> list[Block]:
    seeds = sorted(runs.keys() & others.keys())
    wrong, before = (_wrong([of[seed] for seed in seeds]) for of in (runs, others))
    change = wrong.sum(0) - before.sum(0)
    order = np.argsort(change, kind="stable")
    better = [int(i) for i in order[:_IN_A_ROW] if change[i] < 0]
    worse = [int(i) for i in order[::-1][:_IN_A_ROW] if change[i] > 0]
    if not better and not worse:
        return [Text(f"{method} and {summary.reference} are wrong on the same images.")]
    half = len(seeds) / 2
    sentence = (
        f"{method}: right with at least half of the seeds more than {summary.reference} on "
        f"{wording.counted(int((change <= -half).sum()), 'image')}, and on "
        f"{wording.counted(int((change >= half).sum()), 'image')} with at least half of them less, of {len(change):,}."
    )
    blocks: list[Block] = [Text(sentence)]
    rows = [(f"{method} gains most", better), (f"{method} loses most", worse)]
    pictures = [(name, images.pictures(numbers)) for name, numbers in rows if numbers]
    if pictures and pictures[0][1]:
        name = f"pictures-{list(summary.paired).index(method) + 1}"
        drawing = draw(name, lambda: picture_rows(pictures))
        blocks.append(Picture(name, f"The images of the table below, for {method}.", drawing))
    targets = next(iter(runs.values())).predictions["target"]
    cells = [
        [images.name(i), images.classes[targets[i]], str(int(before[:, i].sum())), str(int(wrong[:, i].sum()))]
        for i in (*better, *worse)
    ]
    caption = f"Wrong with so many of {wording.seeds(len(seeds))}, in the order of the pictures"
    blocks.append(Table(caption, ["Image", "Class", summary.reference, method], cells, names=2))
    return blocks


def _wrong(runs: Sequence[RunRecord]) -> np.ndarray:
    """[seeds, images]"""
    return np.array([run.predictions["target"] != run.predictions["predicted"] for run in runs])
