"""Which images there are, and which of them are judged by what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchmoments_lab.lengths import check_path
from torchmoments_lab.typed import Settings

Metric = Literal["error", "balanced-error", "auroc", "average-precision", "log-loss", "calibration"]
Evaluate = Literal["test", "validation"]
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")


@dataclass(frozen=True)
class DataSettings(Settings):
    """The images."""

    data: str = "digits"
    """Data set. digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn. mnist, fashion-mnist, cifar10,
    cifar100: from --data-dir, or downloaded. folder:PATH: a folder for each class, or such folders in PATH/train and
    PATH/test (or val). your.module:make_data: a function that returns (train, test). All images are read once first."""
    data_dir: Path | None = None
    """Folder with the files of mnist, fashion-mnist, cifar10 or cifar100."""

    def check(self) -> None:
        super().check()
        if self.data.startswith("folder:"):
            check_path("data", Path(self.data.removeprefix("folder:")))


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
