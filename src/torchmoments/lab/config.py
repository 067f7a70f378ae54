"""The settings of the lab; their docstrings are the help texts of the command line.

Nothing here imports torch, so that `torchmoments --help` answers at once.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class TrainConfig:
    """What decides the result of a run, besides its method and its seed."""

    data: str = "digits"
    """Data set. digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn. mnist, fashion-mnist: IDX files
    in --data-dir, or torchvision's download."""
    data_dir: Path | None = None
    """Folder with the files of the data set."""
    train_size: int | None = None
    """Number of training images, every class in its share. Each seed draws its own. None: 200 digits, all of others."""
    width: int = 16
    """Channels of the network's first stage; the next two have 2 and 4 times as many."""
    epochs: int = 80
    """Passes over the training images. The last epoch counts."""
    batch_size: int = 50
    """Images a step."""
    lr: float = 0.1
    """Learning rate at the start; it falls to 0 along a cosine."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""

    def check(self) -> None:
        """Raise ValueError for a value that no data set, model or method could accept."""
        if self.train_size is not None:
            _at_least(1, "train_size", self.train_size, "training image")
        _at_least(1, "width", self.width, "channel")
        _at_least(1, "epochs", self.epochs, "epoch")
        _at_least(2, "batch_size", self.batch_size, "images, for BatchNorm and for a partner")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr needs a finite number above 0; got {self.lr}. Write --lr 0.1, for example.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay needs a finite number, 0 or more; got {self.weight_decay}. "
                "Write --weight-decay 5e-4, for example."
            )

    def settings(self) -> dict[str, Setting]:
        """The values that all runs of one comparison share. Where the files lie is none of them."""
        return {field.name: getattr(self, field.name) for field in fields(TrainConfig) if field.name != "data_dir"}


@dataclass(frozen=True)
class CompareConfig(TrainConfig):
    """Train with each method on the same images, weights and batches, and say whether it helps.

    Runs that are complete in the folder are kept: the same command goes on where it was stopped, and seeds and
    methods may be added. Everything in the folder is reported.
    """

    methods: tuple[str, ...] = ("none", "labels", "moex")
    """Methods; the first is what the others are compared with. none: plain training. moex: Moment Exchange. labels: its
    label mixing alone, features untouched. With options: moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2"""
    seeds: int = 20
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core."""
    out: Path = Path("runs/compare")
    """Folder for the runs, the summary and the figure."""

    def check(self) -> None:
        super().check()
        _at_least(1, "seeds", self.seeds, "seed")
        if self.workers is not None:
            _at_least(1, "workers", self.workers, "worker")
        if not self.methods:
            raise ValueError("methods needs at least one method; got none at all. Write --methods none moex.")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word most like `word`, and all of them."""
    known = list(known)
    match = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return (f"Nearest: {match[0]!r}. " if match else "") + f"All: {', '.join(known)}."


def _at_least(least: int, name: str, value: int, unit: str) -> None:
    if value < least:
        flag = name.replace("_", "-")
        raise ValueError(f"{name} needs at least {least} {unit}; got {value}. Write --{flag} {least} or more.")
