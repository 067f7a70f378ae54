"""What a comparison keeps of its images, so that a report can show them where the data are not.

OUT/images.json    names of the classes, training images of each, files of the test images
OUT/test.jpg       the test images as the network gets them, small, in rows of 50; if there are not too many
OUT/training.jpg   a few training images as the network gets them, augmented
"""

from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from torchmoments_lab.data.names import names_of
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import write_bytes, write_record
from torchmoments_lab.random_numbers import seeds_of
from torchmoments_lab.report.images import COLUMNS, RECORD, SHOWN, TEST, TRAINING
from torchmoments_lab.training.feed import Feed

# Of a small picture, in pixels; and test images on a sheet.
_SIDE, _MOST = 64, 4000


def keep_images(out: Path, experiment: Experiment) -> None:
    """Write the files that are not there yet."""
    data = experiment.data
    seed = experiment.random_seed(0)
    index = data.subset(experiment.train_size, seed)
    # Every seed draws as many of each class.
    counts = torch.bincount(data.train.labels[index], minlength=len(data.classes))
    record = {
        "classes": list(data.classes),
        "training": counts.tolist(),
        "number": len(data.test),
        "files": names_of(data.test.images),
    }
    write_record(out / RECORD, record)
    few = len(data.test) <= _MOST
    if (out / TRAINING).exists() and ((out / TEST).exists() or not few):
        return
    shape = data.shape
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
        return
    feed = Feed(data, experiment.network.initial(0).input, experiment.preprocessing, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seeds_of(seed).augment)
    chosen = torch.randperm(len(index), generator=generator)[:SHOWN]
    ((x, _),) = feed.training(feed.subset(index), [chosen], generator)
    augmented = feed.before_normalization(x)
    # Those that came normalized have any values.
    black, white = (float(augmented.min()), float(augmented.max())) if data.is_normalized else (0.0, 1.0)

    def small(x: Tensor) -> Tensor:
        return _small((x - black) / max(white - black, 1e-6))

    write_bytes(out / TRAINING, _sheet(small(augmented)))
    if few:
        write_bytes(out / TEST, _sheet(torch.cat([small(feed.before_normalization(x)) for x in feed.test()])))


def _small(x: Tensor) -> Tensor:
    """Images [B, C, H, W] from 0 to 1 as bytes [B, 3, h, w]."""
    factor = _SIDE / max(x.shape[-2:])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in x.shape[-2:]]
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    return (255 * x.clamp(0, 1)).round().byte().expand(-1, 3, -1, -1)


def _sheet(x: Tensor) -> bytes:
    """Images [B, 3, H, W] in rows, as a JPEG."""
    number, channels, height, width = x.shape
    columns = min(COLUMNS, number)
    rows = -(-number // columns)
    x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, rows * columns - number))
    x = x.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    file = BytesIO()
    pixels = x.reshape(rows * height, columns * width, channels).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=88, subsampling=0)
    return file.getvalue()
