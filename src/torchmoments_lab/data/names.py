"""The names of images, if they come from files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from torchmoments_lab.data.dataset import DatasetImages
from torchmoments_lab.data.folder import ImageFiles, printable
from torchmoments_lab.data.split import Part


def names_of(images: Any) -> list[str] | None:
    """The files of images, relative to the folder that holds them all; None if they are not known."""
    paths = _paths(images)
    if not paths:
        return None
    try:
        root = os.path.commonpath([path.parent for path in paths])
    except ValueError:
        # Some are absolute and others are not.
        return None
    return [printable(path.relative_to(root).as_posix()) for path in paths]


def _paths(images: Any) -> Sequence[Path] | None:
    match images:
        case ImageFiles(paths):
            return paths
        case DatasetImages(dataset):
            return _paths(dataset)
        case Part(inner, places):
            return _some(_paths(inner), places)
        case Subset():
            return _some(_paths(images.dataset), images.indices)
    # As torchvision's folders of images have it: (file, label) for each.
    samples = getattr(images, "samples", None)
    if isinstance(samples, list | tuple) and len(samples) == len(images) and all(map(_has_file, samples)):
        return [Path(sample[0]) for sample in samples]
    return None


def _some(paths: Sequence[Path] | None, places: Sequence[int]) -> list[Path] | None:
    return None if paths is None else [paths[place] for place in places]


def _has_file(sample: Any) -> bool:
    return isinstance(sample, list | tuple) and len(sample) > 0 and isinstance(sample[0], str | os.PathLike)
