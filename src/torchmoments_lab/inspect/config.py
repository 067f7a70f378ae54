"""The settings of `torchmoments inspect`."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.config import TrainConfig


@dataclass(frozen=True)
class InspectConfig(TrainConfig):
    """Draw the moments of images through the layers of a network, and what their exchange does.

    Mean and standard deviation over the channels (pono) are maps: one number a position. They are drawn for the network
    before training and, with --weights, --pretrained or --train, after it.
    """

    image: tuple[str, ...] = ("china", "flower")
    """One image or more; the first wears the moments of the second. A file; china or flower, the photographs that come
    with scikit-learn; data:7, a test image of the data set."""
    at: tuple[str, ...] = ()
    """Layers to draw. None: the place after the stem, and the last module of each resolution."""
    train: bool = False
    """Train the network on --data first, with the training settings. The weights are kept for the next time."""
    invert: bool = False
    """Also search images that have such features, by gradient descent on the pixels; a minute or more."""
    seed: int = 0
    """Of the weights before training, and of the training."""
    out: Path = Path("runs/inspect")
    """Folder for the pictures and the page."""

    def check(self) -> None:
        super().check()
        if not self.image:
            raise ValueError("image needs one image or more; got none. Write --image a.png b.png.")
        if self.train and self.fine_tunes and self.model == "small":
            raise ValueError("the weights come from --weights or from --train; got both. Leave one out.")
