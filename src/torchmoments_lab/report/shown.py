"""The sections of a report that show images: as the network gets them, and those on which the methods differ."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from torchmoments_lab.report import wording
from torchmoments_lab.report.drawing import draw
from torchmoments_lab.report.images import SHOWN, Images
from torchmoments_lab.report.page import Block, Picture, Section, Table, Text
from torchmoments_lab.report.panels import picture_rows
from torchmoments_lab.report.runs import Comparison, RunRecord
from torchmoments_lab.report.summary import Summary
from torchmoments_lab.settings import Setting
from torchmoments_lab.typed import counted

# Methods whose images are shown; a page of more is not read.
_METHODS = 3
_FLIPS = {"horizontal": "mirrored left to right", "vertical": "mirrored top to bottom", "both": "mirrored both ways"}


def inputs(comparison: Comparison, summary: Summary) -> Section:
    """Training and test images as the network gets them."""
    title, images = "What the network sees", comparison.images
    if images is None or images.augmented is None:
        return Section(title, [])
    rows = [("training images", [*images.augmented])]
    if images.test is not None:
        # From all over the test set, which is often sorted by class.
        spread = np.linspace(0, images.number - 1, min(SHOWN, images.number)).astype(int)
        rows.append((f"{summary.split} images", [*images.test[spread]]))
    drawing = draw("inputs", lambda: picture_rows(rows))
    described = " and ".join(f"{len(pictures)} {name}" for name, pictures in rows)
    picture = Picture("inputs", f"{described}, as the network gets them.", drawing)
    return Section(title, [picture, Text(_prepared(summary.settings))])


def _prepared(settings: Mapping[str, Setting]) -> str:
    """How they were prepared, in a sentence."""
    parts = ["no augmentation"]
    if settings.get("augment"):
        scale, rotation = settings.get("crop_scale"), settings.get("rotation")
        changes = ["shifted by up to 4 pixels" if scale is None else f"crops of {_percent(scale)} of the area or more"]
        changes += [_FLIPS[flips]] if (flips := str(settings.get("flips"))) in _FLIPS else []
        changes += [f"turned by up to {rotation:g} degrees"] if rotation else []
        parts = [f"training images: {', '.join(changes)}"]
    size, crop = settings.get("image_size"), settings.get("test_crop", 1.0)
    parts = [f"{size} x {size} pixels", *parts] if size else parts
    parts += [f"of test images the middle {_percent(crop)} of each side"] if crop != 1.0 else []
    for name in ("mean", "std"):
        numbers = settings.get(name)
        if isinstance(numbers, list) and numbers:
            parts.append(f"{name} {' '.join(f'{number:.3g}' for number in numbers)}")
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}."


def _percent(share: Setting) -> str:
    return f"{100 * float(str(share)):g}%"


def changes(comparison: Comparison, summary: Summary) -> Section:
    """The test images that a method gets right more often than the reference, and those that it gets wrong."""
    title, images = "Picture by picture", comparison.images
    methods = [method for method, difference in summary.differences.items() if difference.n]
    if images is None or not methods:
        return Section(title, [])
    # If there are many, those with a difference that is shown.
    methods.sort(key=lambda method: summary.differences[method].outcome not in ("gain", "harm"))
    blocks: list[Block] = []
    for number, method in enumerate(methods[:_METHODS], 1):
        blocks += _changed(method, f"pictures-{number}", comparison, summary, images)
    if len(methods) > _METHODS:
        blocks.append(Text(f"The images of {counted(len(methods) - _METHODS, 'more method')} are not shown."))
    said = (
        "Images near the border between classes change sides by chance, too: what two methods do to a single image "
        "says little, what the images have in common may say more."
    )
    return Section(title, [*blocks, Text(said)])


def _changed(method: str, name: str, comparison: Comparison, summary: Summary, images: Images) -> list[Block]:
    reference, look = summary.reference, summary.paired[method].look
    runs, others = comparison.runs[method], comparison.runs[reference]
    # Those that the verdict is on.
    seeds = [seed for seed in runs.keys() & others.keys() if look is None or seed < look]
    wrong, before = (_wrong(of[seed] for seed in seeds) for of in (runs, others))
    change, half = wrong - before, len(seeds) / 2
    better, worse = (
        [int(i) for i in np.argsort(sign * change, kind="stable")[:SHOWN] if sign * change[i] < 0] for sign in (1, -1)
    )
    if not better and not worse:
        return [Text(f"{method} is wrong on the same images as {reference}, and as often.")]
    many, few = int((change <= -half).sum()), int((change >= half).sum())
    sentence = (
        f"Of {counted(len(change), f'{summary.split} image')}, {method} gets {many:,} right with at least half of the "
        f"seeds more than {reference}, and {few:,} wrong with at least half more."
    )
    if not many and not few:
        sentence += " The images below change less."
    blocks: list[Block] = [Text(sentence)]
    parts = [
        (words, numbers)
        for words, numbers in ((f"Right more often with {method}", better), (f"Wrong more often with {method}", worse))
        if numbers
    ]
    if images.test is not None:
        rows = [(words, [*images.test[numbers]]) for words, numbers in parts]
        described = "; ".join(f"{words}: {counted(len(pictures), 'image')}" for words, pictures in rows)
        drawing = draw(name, lambda: picture_rows(rows))
        blocks.append(Picture(name, f"{described}, in the order of the tables below.", drawing))
    targets = next(iter(runs.values())).predictions["target"]
    taken = _taken_for([of[seed] for of in (others, runs) for seed in seeds], len(images.classes))
    for words, numbers in parts:
        cells = [
            [images.name(i), images.classes[targets[i]], images.classes[taken[i]], f"{before[i]}", f"{wrong[i]}"]
            for i in numbers
        ]
        order = ", in the order of the pictures" if images.test is not None else ""
        caption = f"{words}{order}: wrong with so many of {wording.seeds(len(seeds))}, and then most often taken for"
        blocks.append(Table(caption, ["Image", "Class", "Taken for", reference, method], cells, names=3))
    return blocks


def _taken_for(runs: Sequence[RunRecord], classes: int) -> np.ndarray:
    """[images]: the class that each is most often wrongly taken for."""
    targets = runs[0].predictions["target"]
    votes = np.zeros((len(targets), classes))
    for run in runs:
        votes[np.arange(len(targets)), run.predictions["predicted"]] += 1
    votes[np.arange(len(targets)), targets] = -1
    found: np.ndarray = votes.argmax(axis=1)
    return found


def _wrong(runs: Iterable[RunRecord]) -> np.ndarray:
    """[images]: how many runs are wrong on each."""
    found: np.ndarray = np.sum([run.predictions["target"] != run.predictions["predicted"] for run in runs], axis=0)
    return found
