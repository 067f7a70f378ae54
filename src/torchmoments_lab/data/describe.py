"""The data in words: for the record that a run depends on, and for the user who starts one."""

import hashlib
from collections import Counter

import numpy as np

from torchmoments_lab.data.picture import Levels
from torchmoments_lab.data.split import Data
from torchmoments_lab.typed import counted

# More classes than these are shown by their range.
_FEW_CLASSES = 5
_SHOWN = 3


def facts(data: Data) -> tuple[tuple[str, str], ...]:
    """What all runs of one record share. Other contents, labels or names of classes have another digest.

    "pixels" is left out if they are others at each read; "copies" is there if test images are training images too.

    Raises:
        ValueError: the pictures cannot be scaled.
    """
    train, test = data.train.records, data.test.records
    digest = hashlib.sha256()
    for split, records in ((data.train, train), (data.test, test)):
        digest.update(split.labels.numpy().tobytes())
        digest.update(records["digest"].tobytes())
    if data.train.domains is not None:
        digest.update(data.train.domains.numpy().tobytes())
    digest.update("/".join(data.classes).encode(errors="surrogateescape"))
    found = [
        ("images", f"{len(train)} + {len(test)} of {len(data.classes)} classes, {digest.hexdigest()[:8]}"),
        ("classes", _classes(data)),
    ]
    if data.domains:
        found.append(("domains", _domains(data)))
    if train["digest"].all() and test["digest"].all():
        found.append(("pixels", _pixels(data)))
    both = copies(data)
    if both:
        found.append(("copies", f"{both:,} of {len(test):,}"))
    return tuple(found)


def sentences(data: Data, judged: str) -> list[str]:
    """What is printed before anything is trained.

    Args:
        judged: what the test images are here, "test" or "validation".
    """
    train, test = data.train.records, data.test.records
    found = [
        f"{counted(len(data.classes), 'class', 'classes')}: {_classes(data)}; {_pixels(data)}; {len(train):,} training "
        f"and {counted(len(test), f'{judged} image')}.",
        *([f"Domains of the training images: {_domains(data)}."] if data.domains else []),
        *data.remarks,
    ]
    cut = int(train["cut"].sum() + test["cut"].sum())
    if cut:
        found.append(f"{counted(cut, 'image has', 'images have')} 16 bits a colour, of which the upper 8 are read.")
    both = copies(data)
    if both:
        found.append(
            f"{judged.capitalize()} images that are also training images, pixel for pixel: {both:,} of {len(test):,}. "
            "Errors on new images are higher."
        )
    return found


def copies(data: Data) -> int:
    """The number of test images that are training images too, pixel for pixel."""
    train, test = data.train.records["digest"], data.test.records["digest"]
    return int((np.isin(test, train) & (test != 0)).sum())


def _classes(data: Data) -> str:
    labels = np.concatenate([data.train.labels.numpy(), data.test.labels.numpy()])
    counts = np.bincount(labels, minlength=len(data.classes)).tolist()
    if len(data.classes) <= _FEW_CLASSES:
        # A name may be a number.
        colons = [":" if name[-1:].isdigit() else "" for name in data.classes]
        return ", ".join(f"{name}{c} {count:,}" for name, c, count in zip(data.classes, colons, counts, strict=True))
    each = _range(min(counts), max(counts))
    return f"{', '.join(data.classes[:_SHOWN])}, ..., {data.classes[-1]}, of {each} images each"


def _domains(data: Data) -> str:
    assert data.train.domains is not None
    counts = np.bincount(data.train.domains.numpy(), minlength=len(data.domains)).tolist()
    return ", ".join(f"{name} {count:,}" for name, count in zip(data.domains, counts, strict=True))


def _pixels(data: Data) -> str:
    records = np.concatenate([data.train.records, data.test.records])
    if data.shape is not None:
        kind = "8-bit " if (records["bits"] == 8).all() else "normalized, " * data.is_normalized
        low, high = _number(records["low"].min()), _number(records["high"].max())
        return f"{kind}{' x '.join(map(str, data.shape))}, values {low} to {high}"
    kinds = Counter(map(_kind, records["bits"].tolist(), records["colour"].tolist()))
    found = [f"{kind} ({count:,})" for kind, count in sorted(kinds.items())] if len(kinds) > 1 else list(kinds)
    levels = _checked_levels(data)
    if levels is not None:
        found.append(f"{_number(levels[0])} to {_number(levels[1])} from black to white")
    # Width x height; of several sizes "30 to 40 x 26".
    size = " x ".join(_range(records[axis].min(), records[axis].max()) for axis in ("width", "height"))
    return f"{', '.join(found)}; {size}"


def _kind(bits: int, colour: bool) -> str:
    return f"{f'{bits}-bit' if bits else 'floating point'} {'colour' if colour else 'grey'}"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"


def _checked_levels(data: Data) -> Levels | None:
    train, test = data.train.records, data.test.records
    if data.levels is None and (test["bits"] != 8).any():
        raise ValueError(
            "test pictures of more than 8 bits need training pictures of the same kind, which tell what is black and "
            "what is white; got 8 bits in all of train. Save both in one way."
        )
    cut = train[train["cut"]]
    if len(cut) and cut["high"].max() < 128:
        raise ValueError(
            f"pictures of 16 bits a colour need to use them, because the upper 8 are read; got {len(cut):,} that use "
            f"values to {256 * (int(cut['high'].max()) + 1) - 1:,}. Save them scaled up to 65,535, or with 8 bits."
        )
    return data.levels
