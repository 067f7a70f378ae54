"""Pictures in folders, one folder for each class:

    PATH/CLASS/.../IMAGE              a fifth is held out for the test, once, stratified
    PATH/train/CLASS/.../IMAGE        the split is PATH/test, or PATH/val if there is no test; see `layout` for the
    PATH/test/CLASS/.../IMAGE         other names that these may have

Any size and mode of image. Each is read once here, and later whenever it is needed.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from torchmoments_lab.data.layout import find_layout
from torchmoments_lab.data.listing import left_out_sentence, pictures_below
from torchmoments_lab.data.picture import decoded
from torchmoments_lab.data.records import RECORD, picture_record
from torchmoments_lab.data.split import Data, Split, hold_out

# ImageNet's, which the libraries' networks were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_THREADS = 8
# Pixels. Larger ones are read one at a time: eight scans of 13,000 x 13,000 at once take 16 GB.
_LARGE = 2**24


@dataclass(frozen=True)
class ImageFiles(Sequence[Any]):
    """Pictures in files, decoded each time they are asked for."""

    paths: Sequence[Path]

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
    names = sorted(layout.train)
    train, test = (_pictures(folders, names, left_out) for folders in (layout.train, layout.test))
    classes = tuple(map(printable, names))
    paths, labels = zip(*train, *test, strict=True)
    if test:
        parts = np.arange(len(train)), np.arange(len(train), len(paths))
    else:
        parts = hold_out(np.array(labels), classes, "a folder without a test part", "Add images of it.")
    pictures = Split(ImageFiles(paths), torch.tensor(labels), records_of(paths))
    remarks = tuple(filter(None, (layout.remark, left_out_sentence(left_out))))
    train_split, test_split = map(pictures.take, parts)
    return Data(train_split, test_split, classes, peak=255.0, mean=MEAN, std=STD, remarks=remarks)


def _pictures(folders: dict[str, Path], names: Sequence[str], left_out: Counter[str]) -> list[tuple[Path, int]]:
    """(picture, label), class by class."""
    found = []
    for label, folder in [(label, folders[name]) for label, name in enumerate(names) if name in folders]:
        before = Counter(left_out)
        pictures = pictures_below(folder, left_out)
        if not pictures:
            others = left_out_sentence(left_out - before)
            raise ValueError(
                f"each class needs an image; got none in '{folder}'. {f'{others} ' if others else ''}Remove the "
                "folder, or put images in it."
            )
        found += [(path, label) for path in pictures]
    return found


def records_of(paths: Sequence[Path]) -> np.ndarray:
    """A record of each picture. If some cannot be read, the error names the first and counts the rest."""
    one_at_a_time = threading.Lock()

    def read(path: Path) -> np.ndarray | str:
        try:
            with Image.open(path) as image, one_at_a_time if image.width * image.height > _LARGE else nullcontext():
                return picture_record(image)
        except Exception as error:
            # Pillow may raise anything for a damaged file.
            reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
            return f"'{path}' ({reason})"

    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(read, paths))
    failures = [result for result in results if isinstance(result, str)]
    if failures:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise ValueError(f"images need to be readable; got {failures[0]}{more}. Repair or remove them.")
    return np.array(results, RECORD)


def printable(name: str) -> str:
    """A name that terminals and files can show: some folders have bytes of an unknown encoding in theirs."""
    return name if name.isprintable() else ascii(name)[1:-1]
