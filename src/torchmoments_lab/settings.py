"""The settings of an experiment in four groups, which commands hold; their docstrings are the help texts.

Nothing here imports torch, so that `torchmoments --help` answers at once.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchmoments_lab.typed import Settings, at_least

Setting = str | int | float | bool | None
Metric = Literal["error", "balanced-error", "auroc", "average-precision", "log-loss", "calibration"]
Evaluate = Literal["test", "validation"]

# A run of each for a year, and a record with more is damaged.
MOST_SEEDS = 100_000
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")

# Where files are and where a run takes place: runs that differ in these alone are the same.
ELSEWHERE = ("data_dir", "weights", "device", "loader_workers")


@dataclass(frozen=True)
class DataSettings(Settings):
    """The images."""

    data: str = "digits"
    """Data set. digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn. mnist, fashion-mnist, cifar10,
    cifar100: from --data-dir, or downloaded. folder:PATH: a folder for each class, or such folders in PATH/train and
    PATH/test (or val). your.module:make_data: a function that returns (train, test). All images are read once first."""
    data_dir: Path | None = None
    """Folder with the files of mnist, fashion-mnist, cifar10 or cifar100."""


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The network."""

    model: str = "small"
    """small: the lab's own residual network. timm/NAME, torchvision/NAME, pytorchcv/NAME: a network of that library.
    your.module:make_model: a function that returns a module, called with num_classes if it takes that."""
    width: int = 16
    """Channels of the first stage of `small`; the next two have 2 and 4 times as many."""
    weights: Path | None = None
    """File with weights to start from, .pt or .safetensors. Only the classifier may differ."""
    pretrained: bool = False
    """Start from the library's own weights, downloaded."""
    image_size: int | None = None
    """Side of the images as the network gets them. None: what the network was made for; for one that takes any size,
    that of the images in the data set, and 64 for those in a folder."""

    def check(self) -> None:
        at_least(1, "width", self.width, "channel")
        at_least(4, "image_size", self.image_size, "pixels")
        if self.pretrained and self.weights is not None:
            raise ValueError("weights come from --weights or from --pretrained; got both. Leave one out.")
        if self.pretrained and self.model.partition("/")[0] not in ("timm", "torchvision", "pytorchcv"):
            raise ValueError(
                f"pretrained needs a network of timm, torchvision or pytorchcv; got {self.model!r}. "
                "Write --model timm/resnet18, for example, or --weights with a file."
            )
        if self.weights is not None and not self.weights.is_file():
            raise ValueError(f"weights needs a file; got '{self.weights}', which does not exist.")

    @property
    def fine_tunes(self) -> bool:
        return self.pretrained or self.weights is not None


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How it is trained."""

    train_size: int | None = None
    """Number of training images, stratified by class. Each seed draws its own. None: 200 digits, all of others."""
    augment: bool = False
    """Light augmentation: crops and, if a mirrored image is still of its class, flips."""
    test_crop: float | None = None
    """Part of the side of a resized test picture that is cut out: 0.875 cuts 224 pixels out of 256. None: what the
    network was made for."""
    epochs: int | None = None
    """Passes over the training images. The last epoch counts. None: 80 for digits, 60 for others, 20 from weights."""
    batch_size: int = 50
    """Images a step."""
    lr: float | None = None
    """Learning rate at the start. None: 0.1, and 0.01 from weights."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """cosine: the learning rate falls to 0. step: to a tenth after half and after three quarters of the epochs."""
    warmup_epochs: int = 0
    """Epochs at the start in which the learning rate grows in equal steps to that of the schedule."""
    schedule_every: Literal["epoch", "step"] = "epoch"
    """When the learning rate changes: after each epoch, or after each step. By steps, warm-up starts from 0 and its
    last step has the whole learning rate."""
    nesterov: bool = True
    """Nesterov's momentum, or the plain one. Both are 0.9."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the network: 32 bits, or mixed with 16."""
    compile: bool = False
    """Compile the network with torch.compile."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    loader_workers: int = 0
    """Processes of each run that read images ahead; for folders and other data that is not held in memory."""

    def check(self) -> None:
        at_least(1, "train_size", self.train_size, "training image")
        at_least(1, "epochs", self.epochs, "epoch")
        at_least(2, "batch_size", self.batch_size, "images, for BatchNorm and for a partner")
        at_least(0, "warmup_epochs", self.warmup_epochs, "epochs")
        if self.epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs needs fewer than the {self.epochs} epochs; got {self.warmup_epochs}. "
                f"Write --warmup-epochs {self.epochs - 1} or less."
            )
        at_least(0, "loader_workers", self.loader_workers, "processes")
        if self.test_crop is not None and not 0 < self.test_crop <= 1:
            raise ValueError(
                f"test_crop needs a part of the side, above 0 and up to 1; got {self.test_crop}. "
                "Write --test-crop 0.875, for example."
            )
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr needs a finite number above 0; got {self.lr}. Write --lr 0.1, for example.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay needs a finite number, 0 or more; got {self.weight_decay}. "
                "Write --weight-decay 5e-4, for example."
            )


@dataclass(frozen=True)
class Judging(Settings):
    """What is compared."""

    metric: Metric = "error"
    """What is compared, in percent, lower is better; the others are reported beside it. error: wrong test images.
    balanced-error: the mean of the classes' errors. auroc: 100 * (1 - area under the ROC curve), each class against the
    rest. average-precision: likewise. log-loss: in hundredths of a nat. calibration: the expected calibration error."""
    evaluate: Evaluate = "test"
    """Which images are judged. test: the test images. validation: a fifth of the training images, held out once, so
    that options can be chosen without a look at the test images."""


@dataclass(frozen=True)
class RunSettings(Settings):
    """How many runs there are."""

    seeds: int = 20
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches; runs of
    one seed are paired."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core; on GPUs one for each."""

    def check(self) -> None:
        at_least(1, "seeds", self.seeds, "seed")
        at_least(1, "workers", self.workers, "worker")


@dataclass(frozen=True)
class PlannedRuns(Settings):
    """How many runs there are, or may become."""

    seeds: int | str = 20
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches; runs of
    one seed are paired. 10..40: looks at the results after 10, 20 and 40 seeds, and stops as soon as every comparison
    is decided, or hopeless; intervals and p count these looks."""
    looks: tuple[int, ...] = ()
    """Other numbers of seeds to look at, with --seeds 10..40: 10 25 40."""
    stop_at: float | None = None
    """Points. A smaller difference does not matter: a comparison is decided, too, if the interval is within it."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core; on GPUs one for each."""

    def check(self) -> None:
        at_least(1, "workers", self.workers, "worker")
        if self.stop_at is not None and not 0 < self.stop_at <= 100:
            raise ValueError(
                f"stop_at needs points above 0, up to 100; got {self.stop_at}. Write --stop-at 0.3, for example."
            )
        if isinstance(self.seeds, int):
            at_least(1, "seeds", self.seeds, "seed")
        if self.plan()[-1] > MOST_SEEDS:
            raise ValueError(f"seeds needs at most {MOST_SEEDS:,}; got {self.seeds}. Write --seeds 20, for example.")

    def plan(self) -> tuple[int, ...]:
        """The numbers of seeds at which results are looked at; the last is how many there may be.

        Raises:
            ValueError: a range that is none, or looks beyond it.
        """
        text = str(self.seeds)
        first, dots, last = (part.strip() for part in text.partition(".."))
        ends = [int(end) for end in (first, last) if end.isdecimal() and len(end) < 10]
        if not dots and ends and ends[0] >= 1:
            if self.looks:
                raise ValueError(
                    f"looks needs a range of seeds; got --seeds {text}. Write --seeds 10..40, or leave it out."
                )
            return (ends[0],)
        if len(ends) < 2 or not 2 <= ends[0] < ends[1]:
            raise ValueError(
                f"seeds needs a number, or a range from 2 or more upwards; got {text!r}. Write --seeds 20, or 10..40."
            )
        if not self.looks:
            return doubling(*ends)
        if list(self.looks) != sorted(set(self.looks)) or self.looks[0] < ends[0] or self.looks[-1] > ends[1]:
            raise ValueError(
                f"looks needs rising numbers from {ends[0]} to {ends[1]}; got {' '.join(map(str, self.looks))}. Write "
                f"--looks {' '.join(map(str, doubling(*ends)))}."
            )
        return tuple(sorted({*self.looks, ends[1]}))


def doubling(first: int, last: int) -> tuple[int, ...]:
    """first, twice that, ... and last: 10, 20, 40."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return (*found, last)
