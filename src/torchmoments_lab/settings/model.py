"""The network, and where its weights start."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.lengths import check_path
from torchmoments_lab.typed import Settings, at_least

# Of a run's weights, in its folder.
WEIGHTS = "weights.safetensors"


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
    fine_tune: bool = False
    """The function your.module:make_model gives a network with trained weights. Without, this is seen where only the
    smaller part of the weights is new for each seed."""
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
        if self.fine_tune and self.model == "small" and self.weights is None:
            raise ValueError("fine_tune needs trained weights; model 'small' has none. Write --weights with a file.")
        if self.weights is not None:
            check_weights(self.weights)

    @property
    def fine_tunes(self) -> bool:
        """Whether the request says so."""
        return self.fine_tune or self.pretrained or self.weights is not None


def check_weights(path: Path) -> None:
    """Raise ValueError unless it is a file; for the folder of a run or of a comparison the sentence names one in it."""
    check_path("weights", path)
    if path.is_file():
        return
    if not path.is_dir():
        raise ValueError(f"weights needs a file; got '{path}', which does not exist.")
    found = next(
        (file for pattern in (WEIGHTS, f"runs/*/seed*/{WEIGHTS}") for file in sorted(path.glob(pattern))), None
    )
    repair = (
        f"which has no {WEIGHTS}. `torchmoments train` keeps one, and `torchmoments compare --keep-weights` one of "
        "each run."
        if found is None
        else f"which is a folder. Write --weights '{found}'."
    )
    raise ValueError(f"weights needs a file; got '{path}', {repair}")
