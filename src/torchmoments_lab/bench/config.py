"""The settings of the benchmarks; their docstrings are the help texts of the command line. Torch is not imported."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.settings import Settings

LAYOUTS = ("contiguous", "channels_last")
DTYPES = ("float32", "float16", "bfloat16")
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
CLOCKS = ("wall", "cpu")
OPS = ("published", "reference", "eager", "compiled", "triton")


@dataclass(frozen=True)
class Op(Settings):
    """Time the exchange alone, forward and backward, against a copy of the same features.

    Every result is a row of the CSV; rows of other devices and versions are kept. Contestants take turns.
    """

    shapes: tuple[str, ...] = ("64x64x56x56", "128x16x28x28")
    """Shapes of the features: BxCxHxW."""
    norms: tuple[str, ...] = ("pono", "in")
    """Norms, as of `torchmoments.exchange`."""
    layouts: tuple[str, ...] = LAYOUTS
    """Memory layouts: contiguous, channels_last."""
    dtypes: tuple[str, ...] = ("float32",)
    """Types of the features: float32, float16, bfloat16."""
    contestants: tuple[str, ...] = OPS
    """published: the formula as the methods' authors wrote it, in eager PyTorch. reference: our definition. eager: its
    backward in closed form. compiled: under torch.compile. triton: on a GPU only."""
    repeats: int = 30
    """Rounds; in each, every contestant runs once."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU where there is one."""
    clock: str = "wall"
    """wall, or cpu: the CPU time of this process, for a machine that others use too. On a GPU always the GPU's own."""
    out: Path = Path("bench/op.csv")
    """CSV that the rows are added to; a figure of the same name is drawn beside it."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be meant."""
        for shape in self.shapes:
            sizes = shape.split("x")
            if len(sizes) < 3 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
                raise ValueError(f"shapes needs sizes such as 64x64x56x56; got {shape!r}.")
        _check_words("layouts", self.layouts, LAYOUTS)
        _check_words("dtypes", self.dtypes, DTYPES)
        _check_words("contestants", self.contestants, OPS)
        _check_words("clock", (self.clock,), CLOCKS)
        _check_repeats(self.repeats)


@dataclass(frozen=True)
class Step(Settings):
    """Time one training step of a model: plain, with our methods at p = 1, and with other packages' MixUp and CutMix.

    Times and memory are ratios to the plain step of the same round. Every result is a row of the CSV.
    """

    model: str = "small"
    """small: the lab's network. Or FAMILY/NAME of torchvision, timm or pytorchcv: torchvision/resnet50."""
    batch: int = 128
    """Images a step."""
    image: int | None = None
    """Height and width of the images. None: what the model is made for."""
    classes: int = 10
    """Number of classes."""
    methods: tuple[str, ...] = ("moex",)
    """Methods, as in `torchmoments compare`, always at p = 1. The place is the model's usual one unless at= says it."""
    others: tuple[str, ...] = ("multiply", "timm-mixup", "timm-cutmix", "torchvision-mixup", "torchvision-cutmix")
    """multiply: the features at the first method's place times a number, the least that a change of features can cost.
    And input mixers of other packages; those that are not installed are left out."""
    precision: str = "32"
    """32, bf16-mixed or 16-mixed."""
    compile: bool = False
    """Compile the model."""
    channels_last: bool = False
    """Put the model and its images in the channels_last layout."""
    repeats: int = 30
    """Rounds; in each, every contestant takes one step."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU where there is one."""
    clock: str = "wall"
    """wall, or cpu: the CPU time of this process, for a machine that others use too. On a GPU always the GPU's own."""
    out: Path = Path("bench/step.csv")
    """CSV that the rows are added to; a figure of the same name is drawn beside it."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be meant."""
        if self.batch < 2:
            raise ValueError(f"batch needs at least 2 images, for a partner; got {self.batch}.")
        if self.classes < 2:
            raise ValueError(f"classes needs at least 2; got {self.classes}.")
        _check_words("others", self.others, Step.others)
        _check_words("precision", (self.precision,), PRECISIONS)
        _check_words("clock", (self.clock,), CLOCKS)
        _check_repeats(self.repeats)


def _check_words(name: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            raise ValueError(f"{name} needs some of {', '.join(known)}; got {word!r}.")


def _check_repeats(repeats: int) -> None:
    if repeats < 3:
        raise ValueError(f"repeats needs at least 3, for quartiles; got {repeats}. Write --repeats 30.")


def bench(what: Op | Step) -> Op | Step:
    """Time the methods: the exchange alone (op), or a training step (step)."""
    return what
