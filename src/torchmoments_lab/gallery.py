"""What a comparison keeps of its images, so that a report can show them where the data are not.

OUT/images.json    names of the classes, training images of each, files of the test images
OUT/test.jpg       the test images as the network gets them, small, in rows of 50; if there are not too many
OUT/training.jpg   training images as the network gets them, augmented
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from torchmoments_lab.data.names import names_of
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import write_bytes, write_record
from torchmoments_lab.random_numbers import seeds_of
from torchmoments_lab.report.images import COLUMNS, RECORD, TEST, TRAINING
from torchmoments_lab.training.feed import Feed

_SIDE, _MOST, _SHOWN = 64, 4000, 24


def keep_images(out: Path, experiment: Experiment) -> None:
    """Write the files that are not there yet."""
    data = experiment.data
    index = data.subset(experiment.train_size, seed=0)
    counts = torch.bincount(data.train.labels[index], minlength=len(data.classes))
    record = {
        "classes": list(data.classes),
        "training": counts.tolist(),
        "number": len(data.test),
        "files": names_of(data.test.images),
    }
    write_record(out / RECORD, record)
    if (out / TRAINING).exists() and ((out / TEST).exists() or len(data.test) > _MOST):
        return
    built = experiment.network.initial(0)
    feed = Feed(data, built.input, experiment.preprocessing, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seeds_of(0).augment)
    chosen = torch.randperm(len(index), generator=generator)[:_SHOWN]
    ((x, _),) = feed.training(feed.subset(index), [chosen], generator)
    if not _are_images(x):
        return
    write_bytes(out / TRAINING, _sheet([feed.as_shown(x)]))
    if len(data.test) <= _MOST:
        write_bytes(out / TEST, _sheet([feed.as_shown(x) for x in feed.test()]))


def _are_images(x: Tensor) -> bool:
    return x.ndim == 4 and x.shape[1] in (1, 3)


def _sheet(batches: list[Tensor]) -> bytes:
    """Images [B, C, H, W] from 0 to 1, side by side as a JPEG."""
    x = torch.cat([_small(batch) for batch in batches])
    number, channels, height, width = x.shape
    rows = -(-number // COLUMNS)
    x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, rows * COLUMNS - number))
    x = (
        x.view(rows, COLUMNS, channels, height, width)
        .permute(0, 3, 1, 4, 2)
        .reshape(rows * height, COLUMNS * width, -1)
    )
    pixels = (255 * x).round().byte().expand(-1, -1, 3).numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88, subsampling=0)
    return file.getvalue()


def _small(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    if max(height, width) > _SIDE:
        factor = _SIDE / max(height, width)
        size: Any = (max(1, round(height * factor)), max(1, round(width * factor)))
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    return x.clamp(0, 1)
