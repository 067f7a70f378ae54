"""Classes of new images, from the weights of one run, or from the mean of several."""

import csv
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchmoments_lab.inference.images import find_images
from torchmoments_lab.inference.trained import Trained, load_trained
from torchmoments_lab.models.network import logits
from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.reader import Reader


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says of images.

    Args:
        files: of the images, below the folder that was given; their numbers if they came from no files.
        classes: their names.
        probabilities: [N, K] float32, in the order of files and classes.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def predicted(self) -> list[str]:
        """[N] the most likely class of each image."""
        return [self.classes[index] for index in self.probabilities.argmax(1)]

    def counts(self) -> dict[str, int]:
        """How many images are of each class, by its name."""
        numbers = np.bincount(self.probabilities.argmax(1), minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, numbers, strict=True))

    def as_csv(self) -> str:
        """A line for each image: file, class, and the probability of each class."""
        text = StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "class", *self.classes])
        for file, name, row in zip(self.files, self.predicted, self.probabilities.tolist(), strict=True):
            writer.writerow([file, name, *(f"{probability:.6g}" for probability in row)])
        return text.getvalue()


def predict(
    weights: str | Path | Sequence[str | Path],
    images: Any,
    *,
    device: str = "auto",
    batch_size: int = 100,
    make_model: Callable[..., Any] | None = None,
    notice: Callable[[str], None] = lambda sentence: None,
) -> Predictions:
    """`torchmoments_lab.predict`, which has the arguments.

    Args:
        notice: called with what was left out of a folder of images.
    """
    paths = [Path(weights)] if isinstance(weights, str | Path) else [Path(path) for path in weights]
    if not paths:
        raise ValueError("weights needs one file or more; got none.")
    if batch_size < 1:
        raise ValueError(f"batch_size needs at least 1 image; got {batch_size}.")
    where = check_device(TrainingSettings(device=device))
    networks = [load_trained(path, make_model) for path in paths]
    _check_agreement(paths, networks)
    first = networks[0].metadata
    named = find_images(images, first.preparation)
    if named.remark is not None:
        notice(named.remark)
    modules = [(network.module.to(where), _arithmetic(network, where)) for network in networks]
    scores = []
    with torch.inference_mode():
        for x in Reader(first.preparation, where).batches(named.images, batch_size):
            each = []
            for module, arithmetic in modules:
                with arithmetic:
                    each.append(logits(module(x)).float().softmax(1))
            scores.append(torch.stack(each).mean(0).cpu())
    return Predictions(named.names, first.classes, torch.cat(scores).numpy())


def _check_agreement(paths: Sequence[Path], networks: Sequence[Trained]) -> None:
    """Raise ValueError unless all networks have the same classes, and get images in the same way."""
    first, *others = ({"classes": of.metadata.classes, **of.metadata.preparation.values()} for of in networks)
    for path, other in zip(paths[1:], others, strict=True):
        differing = [f"{name} {first[name]} and {other[name]}" for name in first if first[name] != other[name]]
        if differing:
            raise ValueError(
                "weights that are averaged need the same classes, and images prepared in the same way; got "
                f"{'; '.join(differing)} in '{paths[0]}' and '{path}'. Predict with each alone."
            )


def _arithmetic(network: Trained, device: torch.device) -> AbstractContextManager[None]:
    """That of the test after the training; on a CPU all 32 bits in place of 16-mixed, which it cannot train either."""
    precision = network.metadata.precision
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    is_mixed = precision == "bf16-mixed" or (precision == "16-mixed" and device.type != "cpu")
    return torch.autocast(device.type, dtype, enabled=is_mixed)
