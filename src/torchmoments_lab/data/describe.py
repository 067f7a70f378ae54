"""What the data are, in words: for the record that a run depends on, and for whoever starts one."""

import hashlib
from collections import Counter

import numpy as np

from torchmoments_lab.data.split import Data

# More classes than these are told by their range.
_FEW_CLASSES = 5
_SHOWN = 3


def facts(data: Data) -> tuple[tuple[str, str], ...]:
    """What all runs of one record share. Other contents, labels or names of classes have another digest.

    "pixels" is left out if they are others at each read; "copies" is there if test images are training images too.

    Raises:
        ValueError: the pictures cannot be scaled.
    """
    train, test = _seen(data)
    digest = hashlib.sha256()
    for split, seen in ((data.train, train), (data.test, test)):
        digest.update(split.labels.numpy().tobytes())
        digest.update(seen["digest"].tobytes())
    digest.update("/".join(data.classes).encode(errors="surrogateescape"))
    found = [
        ("images", f"{len(train)} + {len(test)} of {len(data.classes)} classes, {digest.hexdigest()[:8]}"),
        ("classes", _classes(data)),
    ]
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
    train, test = _seen(data)
    said = [
        f"{len(data.classes):,} classes: {_classes(data)}; {_pixels(data)}; {len(train):,} training and {len(test):,} "
        f"{judged} images.",
        *data.remarks,
    ]
    cut = int(train["cut"].sum() + test["cut"].sum())
    if cut:
        said.append(f"{cut:,} images have 16 bits a colour, of which the upper 8 are read.")
    both = copies(data)
    if both:
        said.append(
            f"{both:,} of {len(test):,} {judged} images are also training images, pixel for pixel: errors on new "
            "images are higher."
        )
    return said


def copies(data: Data) -> int:
    """The number of test images that are training images too, pixel for pixel."""
    train, test = (seen["digest"] for seen in _seen(data))
    return int((np.isin(test, train) & (test != 0)).sum())


def _seen(data: Data) -> tuple[np.ndarray, np.ndarray]:
    assert data.train.seen is not None
    assert data.test.seen is not None
    return data.train.seen, data.test.seen


def _classes(data: Data) -> str:
    labels = np.concatenate([data.train.labels.numpy(), data.test.labels.numpy()])
    counts = np.bincount(labels, minlength=len(data.classes)).tolist()
    if len(data.classes) <= _FEW_CLASSES:
        # A name may be a number.
        counted = (
            f"{name}{':' * name[-1:].isdigit()} {count:,}" for name, count in zip(data.classes, counts, strict=True)
        )
        return ", ".join(counted)
    each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"{', '.join(data.classes[:_SHOWN])}, ..., {data.classes[-1]}, of {each} images each"


def _pixels(data: Data) -> str:
    seen = np.concatenate(_seen(data))
    if data.shape is not None:
        kind = "8-bit" if (seen["bits"] == 8).all() else "normalized," * data.is_normalized
        values = _range(float(seen["low"].min()), float(seen["high"].max()))
        return f"{kind} {' x '.join(map(str, data.shape))}, values {values}".lstrip()
    kinds = Counter(map(_kind, seen["bits"].tolist(), seen["colour"].tolist()))
    told = [f"{kind} ({count:,})" for kind, count in sorted(kinds.items())] if len(kinds) > 1 else list(kinds)
    levels = _checked_levels(data)
    if levels is not None:
        told.append(f"{_range(*levels)} from black to white")
    return f"{', '.join(told)}; {_sizes(seen)}"


def _kind(bits: int, colour: bool) -> str:
    return f"{f'{bits}-bit' if bits else 'floating point'} {'colour' if colour else 'grey'}"


def _sizes(seen: np.ndarray) -> str:
    """Width x height; of several sizes "30 to 40 x 26"."""
    axes = [(int(seen[axis].min()), int(seen[axis].max())) for axis in ("width", "height")]
    return " x ".join(f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in axes)


def _range(low: float, high: float) -> str:
    return " to ".join(f"{value:,.0f}" if value == round(value) else f"{value:.4g}" for value in (low, high))


def _checked_levels(data: Data) -> tuple[float, float] | None:
    train, test = _seen(data)
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
