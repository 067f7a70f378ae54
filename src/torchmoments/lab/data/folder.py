"""Images in folders, one folder for each class:

    PATH/CLASS/.../IMAGE              a fifth is held out for the test, once, every class in its share
    PATH/train/CLASS/.../IMAGE        the split is PATH/test, or PATH/val where there is no test
    PATH/test/CLASS/.../IMAGE

Any size and mode of image. They are read when they are needed.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from torchmoments.lab.data.split import Data, Split, stratified

# Chosen once: the same test images for every run, whatever its seed.
_TEST_SPLIT_SEED = 0
_TEST_SHARE = 0.2
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
# ImageNet's, which the libraries' networks were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CHECK_THREADS = 8


class ImageFiles(Sequence[Image.Image]):
    """Images in files, read as RGB each time they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        return read_image(self.paths[index])


def load_folder(name: str) -> Data:
    """The images below a folder.

    Raises:
        ValueError: the folder is missing, empty or of one class, or train and test differ in their classes.
    """
    path = Path(name).expanduser()
    if not name:
        raise ValueError("data needs a folder of images; got none. Write folder:PATH.")
    if not path.is_dir():
        raise ValueError(f"data needs a folder of images; got '{path}', which does not exist. Write folder:PATH.")
    halves = [half for half in ("test", "val") if (path / half).is_dir()]
    if (path / "train").is_dir() and halves:
        train, test = _of_classes(path / "train"), _of_classes(path / halves[0])
        if not set(test) <= set(train):
            unknown = sorted(set(test) - set(train))[0]
            raise ValueError(f"test images need classes that training has too; '{path / 'train'}' has no {unknown!r}.")
    else:
        train, test = _hold_out(_of_classes(path))
    classes = tuple(sorted(train))
    return Data(_split(train, classes), _split(test, classes), classes, peak=255.0, mean=_MEAN, std=_STD)


def _of_classes(path: Path) -> dict[str, list[Path]]:
    """{class: its images}, both sorted by name."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = {folder.name: _images_below(folder) for folder in folders}
    if not any(found.values()):
        raise ValueError(
            f"data needs a folder for each class, with images; got '{path}', which has "
            f"{'none' if not folders else f'{len(folders)} folders without an image'}. "
            f"Images are files that end in {' '.join(_SUFFIXES)}."
        )
    for name, images in found.items():
        if not images:
            raise ValueError(f"each class needs an image; got none in '{path / name}'. Remove the folder, or fill it.")
    if len(found) < 2:
        raise ValueError(f"data needs two classes or more; got one, {next(iter(found))!r}, in '{path}'.")
    return found


def _images_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


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


def _split(found: dict[str, list[Path]], classes: Sequence[str]) -> Split:
    paths = [path for name in classes for path in found.get(name, [])]
    counts = [len(found.get(name, [])) for name in classes]
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))
    return Split(ImageFiles(paths), labels)


def check_files(data: Data) -> None:
    """Read each image once.

    Raises:
        ValueError: some cannot be read; the sentence names the first and counts the rest.
    """
    sets = [split.images for split in (data.train, data.test) if isinstance(split.images, ImageFiles)]
    paths = [path for images in sets for path in images.paths]
    with ThreadPoolExecutor(_CHECK_THREADS) as pool:
        failures = [failure for failure in pool.map(_why_unreadable, paths) if failure is not None]
    if failures:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise ValueError(f"images need to be readable; got {failures[0]}{more}. Repair or remove them.")


def _why_unreadable(path: Path) -> str | None:
    try:
        read_image(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
        return f"'{path}' ({reason})"
    return None


def read_image(path: Path) -> Image.Image:
    """One image as RGB, upright as the camera was held; of an animation the first picture."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I") or upright.mode == "F":
            return _from_deep_grey(upright)
        if upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return upright.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """PIL would cut 16 bits off at 255. Whole numbers are taken as 16 bits, others as 0 to 1."""
    peak = 1.0 if image.mode == "F" else 65535.0
    grey = np.clip(np.asarray(image, dtype=np.float64) / peak, 0, 1)
    return Image.fromarray((255 * grey).round().astype(np.uint8)).convert("RGB")
