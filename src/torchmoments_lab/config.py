"""The settings of the lab; their docstrings are the help texts of the command line.

Nothing here imports torch, so that `torchmoments --help` answers at once.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, Self

from torchmoments_lab.settings import Settings

Setting = str | int | float | bool | None
Schedule = Literal["cosine", "step", "constant"]
Every = Literal["epoch", "step"]
Metric = Literal["error", "balanced-error", "auroc"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Evaluate = Literal["test", "validation"]

# Where a method mixes, and how the features are laid out there.
WHERE = ("at", "channel_dim", "prefix_tokens", "calls")
# Options of MoEx that leave its labels as they are.
OF_FEATURES = ("norm", "eps", "grad", "positive_only", "alpha", "moment", "backend", *WHERE)

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")


@dataclass(frozen=True)
class SubjectConfig(Settings):
    """What is trained, and on what."""

    data: str = "digits"
    """Data set. digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn. mnist, fashion-mnist, cifar10,
    cifar100: from --data-dir, or downloaded. folder:PATH: a folder for each class, or such folders in PATH/train and
    PATH/test (or val). your.module:make_data: a function that gives (train, test). All images are read once first."""
    data_dir: Path | None = None
    """Folder with the files of mnist, fashion-mnist, cifar10 or cifar100."""
    model: str = "small"
    """small: the lab's own residual network. timm/NAME, torchvision/NAME, pytorchcv/NAME: a network of that library.
    your.module:make_model: a function that gives a module, called with num_classes where it takes that."""
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
        """Raise ValueError for a value that no data set, model or method could accept."""
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
            raise ValueError(f"weights needs a file; got '{self.weights}', where there is none.")

    @property
    def fine_tunes(self) -> bool:
        return self.pretrained or self.weights is not None


@dataclass(frozen=True)
class TrainConfig(SubjectConfig):
    """What decides the result of a run, besides its method and its seed."""

    train_size: int | None = None
    """Number of training images, every class in its share. Each seed draws its own. None: 200 digits, all of others."""
    augment: bool = False
    """Light augmentation: crops and, where a mirrored image is still of its class, flips."""
    test_crop: float | None = None
    """Part of the side of a resized test picture that is cut out: 0.875 cuts 224 pixels out of 256. None: what the
    network was made for."""
    epochs: int | None = None
    """Passes over the training images. The last epoch counts. None: 80 for digits, 60 for others, 20 from weights."""
    batch_size: int = 50
    """Images a step."""
    lr: float | None = None
    """Learning rate at the start. None: 0.1, and 0.01 from weights."""
    schedule: Schedule = "cosine"
    """cosine: the learning rate falls to 0. step: to a tenth after half and after three quarters of the epochs."""
    warmup_epochs: int = 0
    """Epochs at the start in which the learning rate grows in equal steps to where the schedule has it."""
    schedule_every: Every = "epoch"
    """When the learning rate changes: after each epoch, or after each step. By steps, warm-up starts from 0 and its
    last step has the whole learning rate."""
    nesterov: bool = True
    """Nesterov's momentum, or the plain one. Both are 0.9."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""
    metric: Metric = "error"
    """What is compared, in percent, lower is better. error: wrong test images. balanced-error: the mean of the classes'
    errors. auroc: 100 * (1 - area under the ROC curve), each class against the rest."""
    evaluate: Evaluate = "test"
    """Which images are judged. test: the test images. validation: a fifth of the training images, held out once, so
    that options can be chosen without a look at the test images."""
    precision: Precision = "32-true"
    """Arithmetic of the network: 32 bits, or mixed with 16."""
    compile: bool = False
    """Compile the network with torch.compile."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    loader_workers: int = 0
    """Processes of each run that read images ahead; for folders and other data that is not held in memory."""

    def check(self) -> None:
        super().check()
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

    def filled(self, images: int) -> Self:
        """The same settings with a value for each None that has a default, for a pool of so many training images."""
        digits = self.data == "digits"
        return replace(
            self,
            train_size=self.train_size or (200 if digits else images),
            epochs=self.epochs or (20 if self.fine_tunes else 80 if digits else 60),
            lr=self.lr or (0.01 if self.fine_tunes else 0.1),
        )

    def settings(self) -> dict[str, Setting]:
        """The values that all runs of one comparison share; not where files lie or where it runs."""
        elsewhere = ("data_dir", "weights", "device", "loader_workers")
        return {field.name: getattr(self, field.name) for field in fields(TrainConfig) if field.name not in elsewhere}


@dataclass(frozen=True)
class CompareConfig(TrainConfig):
    """Train with each method on the same images, weights and batches, and say whether it helps.

    Runs that are complete in the folder are kept: the same command goes on where it was stopped, and seeds and
    methods may be added. Everything in the folder is reported.
    """

    methods: tuple[str, ...] = ("none", "labels", "moex")
    """Methods; the first is what the others are compared with. none: plain training. moex: Moment Exchange. labels: its
    label mixing alone, features untouched. mixstyle, efdmix, dsu, crossnorm, padain: others of its kind. mixup, cutmix:
    of the images. smooth: label smoothing. With options: moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2. Images before
    features: cutmix+moex:p=0.25, and with the same partner for both: cutmix+moex:same_partner=True"""
    seeds: int = 20
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core; on GPUs one for each."""
    out: Path = Path("runs/compare")
    """Folder for the runs and the report."""

    def check(self) -> None:
        super().check()
        at_least(1, "seeds", self.seeds, "seed")
        at_least(1, "workers", self.workers, "worker")
        if not self.methods:
            raise ValueError("methods needs at least one method; got none at all. Write --methods none moex.")


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Make the report of a comparison again, from its run folders alone. Nothing is trained."""

    out: Path
    """Folder of a comparison, the --out of a compare."""

    def check(self) -> None:
        """What is wrong with the folder shows when it is read."""


@dataclass(frozen=True)
class SingleConfig(TrainConfig):
    """Train once with one method, on one device or on several, and keep the trained weights.

    Each epoch is kept: the same command goes on where it was stopped, and ends with the same result.
    """

    recipe: str | None = None
    """Start from the settings of one of the paper's experiments; other flags go before them. cifar10-pyramidnet200,
    cifar100-pyramidnet200, imagenet-resnet50, imagenet-resnet50-cutmix."""
    method: str = "moex"
    """none, moex, cutmix+moex:p=0.25 or another, with options, as in `compare`."""
    seed: int = 0
    """Draws the training images, the initial weights and the order of the batches."""
    devices: int = 1
    """Devices that share each batch (DDP). On the CPU: processes."""
    threads: int = 1
    """Threads of each process on the CPU. Another number may change the last digits of a result."""
    out: Path = Path("runs/train")
    """Folder for the checkpoint, the weights, the metrics and the predictions."""

    def check(self) -> None:
        super().check()
        at_least(0, "seed", self.seed, "")
        at_least(1, "devices", self.devices, "device")
        at_least(1, "threads", self.threads, "thread")
        if self.batch_size < 2 * self.devices:
            raise ValueError(
                f"batch_size needs 2 images for each of {self.devices} devices; got {self.batch_size}. "
                f"Write --batch-size {2 * self.devices} or more."
            )


@dataclass(frozen=True)
class PlacesConfig(SubjectConfig):
    """List what a method can be attached to in a model: names for `at=`, in the order in which they run.

    The image is one of the data set's.
    """

    depth: int = 3
    """Levels of names to show."""

    def check(self) -> None:
        super().check()
        at_least(1, "depth", self.depth, "level")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word most like `word`, and all of them where they are few."""
    known = list(known)
    match = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    found = f"Nearest: {match[0]!r}. " if match else ""
    return found + f"All: {', '.join(known)}." if len(known) <= 20 else found.strip() or "None is like it."


def at_least(least: int, name: str, value: int | None, unit: str) -> None:
    """Raise ValueError unless the value is large enough, or None: left open."""
    if value is not None and value < least:
        flag = name.replace("_", "-")
        raise ValueError(f"{name} needs at least {least} {unit}; got {value}. Write --{flag} {least} or more.")
