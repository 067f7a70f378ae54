"""What the folder of a comparison has of its images, see `gallery`: the classes, the files, and small pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchmoments_lab.files import damaged, read_record

RECORD, TEST, TRAINING = "images.json", "test.jpg", "training.jpg"
# Pictures in a row of a sheet, and training images on theirs.
COLUMNS, SHOWN = 50, 8
# Images; a record with more is damaged.
_MOST = 10**9


@dataclass(frozen=True, eq=False)
class Images:
    """
    Args:
        classes: their names.
        training: training images of each, in every run.
        number: of test images.
        files: of the test images; None: they are in none.
        test: the test images, uint8 [number, H, W, 3]; None: they are too many, or no images.
        augmented: some training images as they are in training, of the same kind.
    """

    classes: Sequence[str]
    training: Sequence[int]
    number: int
    files: Sequence[str] | None = None
    test: np.ndarray | None = None
    augmented: np.ndarray | None = None

    def name(self, number: int) -> str:
        """Of a test image."""
        return f"image {number}" if self.files is None else self.files[number]


def read_images(out: Path) -> Images | None:
    """None if the folder has no record of them, as those of other commands and of earlier versions.

    Raises:
        ValueError: a file is damaged.
    """
    path = out / RECORD
    record = read_record(path, classes=list, training=list, number=int)
    if record is None:
        return None
    classes, training, number, files = record["classes"], record["training"], record["number"], record.get("files")
    names = [*classes, *(files if type(files) is list else ())]
    fits = len(classes) == len(training) and (files is None or len(names) == len(classes) + number)
    counted = all(type(n) is int and 0 <= n <= _MOST for n in training) and 0 < number <= _MOST and sum(training) > 0
    if not fits or not counted or not all(type(name) is str for name in names):
        raise damaged(path, "its lists do not fit together")
    shown = min(SHOWN, sum(training))
    return Images(classes, training, number, files, _sheet(out / TEST, number), _sheet(out / TRAINING, shown))


def _sheet(path: Path, number: int) -> np.ndarray | None:
    """The pictures of a sheet, uint8 [number, H, W, 3]; None if it is not there."""
    from PIL import Image

    if not path.exists():
        return None
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:
        # Pillow may raise anything for a damaged file.
        raise damaged(path, "it is no JPEG, or cut short") from error
    columns = min(COLUMNS, number)
    rows = -(-number // columns)
    height, width = len(pixels) // rows, pixels.shape[1] // columns
    if pixels.shape != (rows * height, columns * width, 3) or height * width == 0:
        raise damaged(path, f"it has no {rows} rows of {columns} pictures")
    cut = pixels.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    return cut.reshape(-1, height, width, 3)[:number]
