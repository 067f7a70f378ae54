"""MNIST and Fashion-MNIST from IDX files, gzipped or plain.

An IDX file is big-endian: two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each axis as
32 bits, then the values. Source: Yann LeCun, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from torchmoments_lab.data.download import cache_folder, download
from torchmoments_lab.data.split import Data, Split

_UNSIGNED_BYTES = 8


@dataclass(frozen=True)
class _Kind:
    torchvision: str
    mean: float
    std: float
    flips: bool
    classes: tuple[str, ...]


_KINDS = {
    "mnist": _Kind("MNIST", 0.1307, 0.3081, False, tuple("0123456789")),
    "fashion-mnist": _Kind(
        "FashionMNIST",
        0.2860,
        0.3530,
        True,
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
}


def load_idx(name: str, folder: Path | None) -> Data:
    """`name` ("mnist" or "fashion-mnist") from a folder; downloaded by torchvision where no folder is given.

    Raises:
        ValueError: files are missing, cut short, of another kind, or images and labels differ in number.
    """
    kind = _KINDS[name]
    if folder is None:
        folder = cache_folder()
        download(kind.torchvision, folder)
    splits = []
    for prefix in ("train", "t10k"):
        images = _find(folder, kind, f"{prefix}-images-idx3-ubyte")
        labels = _find(folder, kind, f"{prefix}-labels-idx1-ubyte")
        splits.append(_read_split(images, labels, len(kind.classes)))
    train, test = splits
    return Data(train, test, kind.classes, peak=255.0, mean=(kind.mean,), std=(kind.std,), flips=kind.flips)


def _find(folder: Path, kind: _Kind, name: str) -> Path:
    """The file in the folder itself, or where torchvision puts it below."""
    for place in (folder, folder / kind.torchvision / "raw"):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    raise ValueError(
        f"data_dir needs a folder with {name} or {name}.gz; got '{folder}', which "
        f"{'has neither' if folder.is_dir() else 'does not exist'}. Write --data-dir with the folder of the IDX files."
    )


def _read_split(images: Path, labels: Path, classes: int) -> Split:
    pixels, targets = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(targets):
        raise ValueError(
            f"images and labels need to be as many; got {len(pixels):,} images in '{images}' and "
            f"{len(targets):,} labels in '{labels}'. Take both from the same data set."
        )
    if len(targets) == 0 or targets.max() >= classes:
        found = "none at all" if len(targets) == 0 else f"a {targets.max()}"
        raise ValueError(f"labels need to be from 0 to {classes - 1}; got {found} in '{labels}'.")
    return Split.in_memory(torch.from_numpy(pixels)[:, None], torch.from_numpy(targets.astype(np.int64)))


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The unsigned bytes of an IDX file with so many axes.

    Raises:
        ValueError: the file is cut short or too long, or is no such file.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"an IDX file needs to be whole and readable; got '{path}' ({error}).") from error
    magic = bytes([0, 0, _UNSIGNED_BYTES, axes])
    if content[:4] != magic:
        raise ValueError(
            f"an IDX file of {axes} axes needs to begin with {magic.hex()}; got {content[:4].hex() or 'nothing'} "
            f"in '{path}'."
        )
    header = 4 + 4 * axes
    if len(content) < header:
        raise ValueError(f"an IDX file needs a header of {header} bytes; got {len(content)} in '{path}': cut short.")
    shape = struct.unpack(f">{axes}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        state = "cut short" if len(content) < expected else "too long"
        raise ValueError(
            f"an IDX file of shape {list(shape)} needs {expected:,} bytes; got {len(content):,} in '{path}': {state}."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
