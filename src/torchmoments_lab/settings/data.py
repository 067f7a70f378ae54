"""Which images there are, and which of them are judged by what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchmoments_lab.lengths import check_path
from torchmoments_lab.typed import Settings

Metric = Literal["error", "balanced-error", "auroc", "average-precision", "log-loss", "calibration"]
Evaluate = Literal["test", "validation"]
FOLDERS = ("folder:", "domains:")
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")


@dataclass(frozen=True)
class DataSettings(Settings):
    """The images."""

    data: str = "digits"
    """Data set. digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn. mnist, fashion-mnist, cifar10,
    cifar100: from --data-dir, or downloaded. folder:PATH: a folder for each class, or such folders in PATH/train and
    PATH/test (or val). domains:PATH: a folder for each domain, such as cameras, with the same classes in each.
    your.module:make_data: a function that returns (train, test). All images are read once first."""
    test_data: str | None = None
    """folder:PATH: test images that come from elsewhere, such as another hospital. No others are held out then, and if
    it is one of the domains of --data, training leaves it out."""
    data_dir: Path | None = None
    """Folder with the files of mnist, fashion-mnist, cifar10 or cifar100."""

    def check(self) -> None:
        super().check()
        for name, given in (("data", self.data), ("test_data", self.test_data or "")):
            if given.startswith(FOLDERS):
                check_path(name, Path(given.partition(":")[2]))
        if self.test_data is not None:
            if not self.test_data.startswith("folder:"):
                raise ValueError(f"test_data needs folder:PATH; got {self.test_data!r}. Write --test-data folder:PATH.")
            if not self.data.startswith(FOLDERS):
                raise ValueError(
                    f"test_data is for data in folders; got --data {self.data}. Leave it out: others have test images."
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
