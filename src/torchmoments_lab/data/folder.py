"""Pictures in folders, one folder for each class:

    PATH/CLASS/.../IMAGE              a fifth is held out for the test, once, every class in its share
    PATH/train/CLASS/.../IMAGE        the split is PATH/test, or PATH/val where there is no test; see `layout` for
    PATH/test/CLASS/.../IMAGE         the other names that these may have

Any size and mode of image. Each is read once here, and later whenever it is needed.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from torchmoments_lab.data.layout import find_layout
from torchmoments_lab.data.listing import pictures_below, said_of
from torchmoments_lab.data.picture import decoded
from torchmoments_lab.data.seen import RECORD, see_picture
from torchmoments_lab.data.split import Data, Split, stratified

# Chosen once: the same test images for every run, whatever its seed.
_TEST_SPLIT_SEED = 0
_TEST_SHARE = 0.2
# ImageNet's, which the libraries' networks were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_THREADS = 8
# Pixels. Larger ones are read one at a time: eight scans of 13,000 x 13,000 at once take 16 GB.
_LARGE = 2**24


class ImageFiles(Sequence[Any]):
    """Pictures in files, decoded each time they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        with Image.open(self.paths[index]) as image:
            return decoded(image)


def load_folder(name: str) -> Data:
    """The pictures below a folder, each of them read once.

    Raises:
        ValueError: the folder is missing, empty or of one class, train and test differ in their classes, its layout is
            not understood, or a picture cannot be read.
    """
    path = Path(name).expanduser()
    if not name:
        raise ValueError("data needs a folder of images; got none. Write folder:PATH.")
    if not path.is_dir():
        raise ValueError(f"data needs a folder of images; got '{path}', which does not exist. Write folder:PATH.")
    left_out: Counter[str] = Counter()
    layout = find_layout(path, left_out)
    train, test = _pictures(layout.train, left_out), _pictures(layout.test, left_out)
    if not layout.test:
        train, test = _hold_out(train)
    classes = tuple(sorted(train))
    paths, labels = zip(*(_in_order(found, classes) for found in (train, test)), strict=True)
    seen = _see([path for part in paths for path in part])
    return Data(
        Split(ImageFiles(paths[0]), labels[0], seen[: len(paths[0])]),
        Split(ImageFiles(paths[1]), labels[1], seen[len(paths[0]) :]),
        tuple(map(printable, classes)),
        peak=255.0,
        mean=MEAN,
        std=STD,
        remarks=tuple(remark for remark in (layout.remark, said_of(left_out)) if remark is not None),
    )


def _pictures(folders: dict[str, Path], left_out: Counter[str]) -> dict[str, list[Path]]:
    """{class: its pictures}."""
    found = {}
    for name, folder in folders.items():
        elsewhere = Counter(left_out)
        found[name] = pictures_below(folder, left_out)
        if not found[name]:
            others = said_of(left_out - elsewhere) or ""
            raise ValueError(
                f"each class needs an image; got none in '{folder}'. {others}{' ' * bool(others)}Remove the folder, or "
                "put images in it."
            )
    return found


def _hold_out(found: dict[str, list[Path]]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    for name, images in found.items():
        if len(images) < 2:
            raise ValueError(f"each class needs two images, one of them for the test; got {len(images)} of {name!r}.")
    names = sorted(found)
    labels = np.repeat(np.arange(len(names)), [len(found[name]) for name in names])
    every = [path for name in names for path in found[name]]
    size = max(len(names), round(_TEST_SHARE * len(every)))
    held_out = set(stratified(labels, len(names), size, _TEST_SPLIT_SEED).tolist())
    train: dict[str, list[Path]] = {name: [] for name in names}
    test: dict[str, list[Path]] = {name: [] for name in names}
    for index, path in enumerate(every):
        (test if index in held_out else train)[names[labels[index]]].append(path)
    return train, test


def _in_order(found: dict[str, list[Path]], classes: Sequence[str]) -> tuple[list[Path], Tensor]:
    """The pictures class by class, and their labels."""
    paths = [path for name in classes for path in found.get(name, [])]
    counts = [len(found.get(name, [])) for name in classes]
    return paths, torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))


def _see(paths: Sequence[Path]) -> np.ndarray:
    """A record of each picture.

    Raises:
        ValueError: some cannot be read; the sentence names the first and counts the rest.
    """
    one_at_a_time = threading.Lock()

    def see(path: Path) -> np.ndarray | str:
        try:
            with Image.open(path) as image, one_at_a_time if image.width * image.height > _LARGE else nullcontext():
                return see_picture(image)
        except Exception as error:
            # Of a damaged file Pillow may raise anything.
            reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
            return f"'{path}' ({reason})"

    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(see, paths))
    failures = [result for result in results if isinstance(result, str)]
    if failures:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise ValueError(f"images need to be readable; got {failures[0]}{more}. Repair or remove them.")
    return np.array(results, RECORD)


def printable(name: str) -> str:
    """A folder's name as a terminal and a file can have it: some names are bytes of no known encoding."""
    return name if name.isprintable() else ascii(name)[1:-1]
