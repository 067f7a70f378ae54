"""Pictures in folders, one folder for each class:

    PATH/CLASS/.../IMAGE              a fifth is held out for the test, once, stratified
    PATH/train/CLASS/.../IMAGE        the split is PATH/test, or PATH/val if there is no test; see `layout` for the
    PATH/test/CLASS/.../IMAGE         other names that these may have

Folders of domains, such as cameras or hospitals:

    PATH/DOMAIN/CLASS/.../IMAGE       a fifth is held out of each class of each domain

In both, the test images may come from another folder in place of those that are held out.

Any size and mode of image. Each is read once here, and later whenever it is needed.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from torchmoments_lab.data.layout import Layout, find_domains, find_layout
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


def load_folder(name: str, test: str | None = None, *, has_domains: bool = False) -> Data:
    """The pictures below a folder, each of them read once.

    Args:
        test: the folder of the test images, if they come from elsewhere: its test part if it has one.
        has_domains: the folder has folders of domains, which have those of the classes. If one of them is `test`,
            training leaves it out.

    Raises:
        ValueError: a folder is missing, empty or of one class, train and test differ in their classes, a layout is not
            understood, or a picture cannot be read.
    """
    path, left_out = _folder("data", name), Counter[str]()
    elsewhere = None if test is None else _folder("test_data", test)
    if has_domains:
        domains = find_domains(path, left_out)
        if elsewhere is not None:
            domains = {name: of for name, of in domains.items() if not elsewhere.samefile(path / name)}
        layout = Layout(next(iter(domains.values())))
    else:
        layout = find_layout(path, left_out)
        domains = {"": layout.train}
    if elsewhere is not None:
        layout = _with_test(layout, elsewhere, left_out)
    names = sorted(layout.train)
    train = [_pictures(folders, names, left_out) for folders in domains.values()]
    from_domain = np.repeat(np.arange(len(train)), [len(pictures) for pictures in train])
    of_test = _pictures(layout.test, names, left_out)
    paths, numbers = zip(*chain(*train, of_test), strict=True)
    labels = np.array(numbers)
    if of_test:
        parts = np.arange(len(from_domain)), np.arange(len(from_domain), len(paths))
    else:
        cells = [printable(" of ".join(filter(None, (name, domain)))) for domain in domains for name in names]
        cell = from_domain * len(names) + labels
        parts = hold_out(cell, cells, "a folder without a test part", "Add images of it.")
    pictures = Split(ImageFiles(paths), torch.from_numpy(labels), records_of(paths))
    train_split, test_split = map(pictures.take, parts)
    # A single one is no group to choose partners from.
    several = tuple(map(printable, domains)) if len(domains) > 1 else ()
    if several:
        train_split = replace(train_split, domains=torch.from_numpy(from_domain[parts[0]]))
    remarks = tuple(filter(None, (layout.remark, left_out_sentence(left_out))))
    return Data(
        train_split,
        test_split,
        tuple(map(printable, names)),
        domains=several,
        peak=255.0,
        mean=MEAN,
        std=STD,
        remarks=remarks,
    )


def _folder(setting: str, name: str) -> Path:
    path = Path(name).expanduser()
    if not name:
        raise ValueError(f"{setting} needs a folder of images; got none. Write folder:PATH.")
    if not path.is_dir():
        raise ValueError(f"{setting} needs a folder of images; got '{path}', which does not exist. Write folder:PATH.")
    return path


def _with_test(layout: Layout, folder: Path, left_out: Counter[str]) -> Layout:
    """The same training images, and test images from another folder."""
    other = find_layout(folder, left_out)
    test = other.test or other.train
    unknown = sorted(set(test) - set(layout.train))
    if unknown:
        raise ValueError(f"test_data needs classes that training has too; got {unknown[0]!r} in '{folder}'.")
    part = " its test part;" if other.test else ""
    unused = " the test images of --data are not used." if layout.test else ""
    return Layout(layout.train, test, f"Test images are those of '{folder}',{part}{unused}".rstrip(",;.") + ".")


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
