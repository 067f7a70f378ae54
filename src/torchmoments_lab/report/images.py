"""What the folder of a comparison has of its images, see `gallery`: the classes, the files, and small pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from torchmoments_lab.files import damaged, read_record

RECORD, TEST, TRAINING = "images.json", "test.jpg", "training.jpg"
# Pictures in a row of a sheet.
COLUMNS = 50


@dataclass(frozen=True)
class Images:
    """
    Args:
        classes: their names.
        training: training images of each, in every run.
        number: of test images.
        files: of the test images; None: they are in none.
        test, training_shown: sheets of small pictures, JPEG; None: there are none.
    """

    classes: Sequence[str]
    training: Sequence[int]
    number: int
    files: Sequence[str] | None
    test: bytes | None
    training_shown: bytes | None

    def pictures(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Some of the test images, uint8 [H, W, 3]; [] without a sheet."""
        rows = -(-self.number // COLUMNS)
        return [] if self.test is None else _cut(self.test, rows, numbers)

    def training_pictures(self, number: int) -> list[np.ndarray]:
        """The first of the training images, as they are seen in training."""
        return [] if self.training_shown is None else _cut(self.training_shown, 1, range(number))

    def name(self, number: int) -> str:
        """Of a test image."""
        return f"image {number}" if self.files is None else self.files[number]


def read_images(out: Path) -> Images | None:
    """None if the folder has no record of them, as those of other commands.

    Raises:
        ValueError: the record is damaged.
    """
    path = out / RECORD
    record = read_record(path, classes=list, training=list, number=int)
    if record is None:
        return None
    files = record.get("files")
    if len(record["training"]) != len(record["classes"]) or (files is not None and len(files) != record["number"]):
        raise damaged(path, "its lists are of different lengths")
    return Images(
        record["classes"], record["training"], record["number"], files, _sheet(out / TEST), _sheet(out / TRAINING)
    )


def _sheet(path: Path) -> bytes | None:
    from PIL import Image

    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        Image.open(BytesIO(content)).load()
    except OSError as error:
        raise damaged(path, str(error)) from error
    return content


def _cut(sheet: bytes, rows: int, numbers: Sequence[int]) -> list[np.ndarray]:
    from PIL import Image

    pixels = np.asarray(Image.open(BytesIO(sheet)).convert("RGB"))
    height, width = pixels.shape[0] // rows, pixels.shape[1] // COLUMNS
    places = [divmod(number, COLUMNS) for number in numbers]
    return [pixels[row * height : (row + 1) * height, k * width : (k + 1) * width] for row, k in places]
