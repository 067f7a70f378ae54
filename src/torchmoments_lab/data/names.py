"""The names of images, where they come from files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchmoments_lab.data.dataset import DatasetImages
from torchmoments_lab.data.folder import ImageFiles, printable
from torchmoments_lab.data.split import Part


def names_of(images: Any) -> list[str] | None:
    """The files of images, from the folder on that all of them are in; None if they are not known."""
    paths = _paths(images)
    if not paths:
        return None
    root = os.path.commonpath([path.parent for path in paths])
    return [printable(path.relative_to(root).as_posix()) for path in paths]


def _paths(images: Any) -> Sequence[Path]:
    match images:
        case ImageFiles(paths):
            return paths
        case Part(inner, places):
            every = _paths(inner)
            return [every[place] for place in places] if every else []
        case DatasetImages(dataset):
            # torchvision's folders of images have (file, label) for each.
            samples = getattr(dataset, "samples", None)
            if isinstance(samples, list) and len(samples) == len(images):
                return [Path(sample[0]) for sample in samples if isinstance(sample, tuple)]
    return []
