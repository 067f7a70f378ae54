"""What each command is asked for: groups of settings, and its own. The docstrings are the help texts."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.lengths import check_path, folder_of
from torchmoments_lab.settings import (
    DataSettings,
    Evaluate,
    Execution,
    Judging,
    Metric,
    ModelSettings,
    Parallel,
    PlannedRuns,
    Preprocessing,
    RunSettings,
    TrainingSettings,
    check_weights,
)
from torchmoments_lab.typed import Settings, at_least


@dataclass(frozen=True)
class Setup(Settings):
    """What is trained, on what, and how."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    preprocessing: Preprocessing = Preprocessing()
    training: TrainingSettings = TrainingSettings()


@dataclass(frozen=True)
class Compare(Setup):
    """Train with each method on the same images, weights and batches, and say whether it helps.

    Runs that are complete in the folder are kept: rerun the command to resume; seeds and methods may be added.
    Everything in the folder is reported.
    """

    judging: Judging = Judging()
    methods: tuple[str, ...] = ("none", "labels", "moex")
    """Method specs; the first is what the others are compared with. none: plain training. moex: Moment Exchange.
    labels: its label mixing alone, features untouched. mixstyle, efdmix, dsu, crossnorm, padain: others of its kind.
    mixup, cutmix: of the images. smooth: label smoothing. With options: moex:norm=in,lam=0.9,p=0.5,at=layer1+layer2.
    Images before features: cutmix+moex:p=0.25, and with the same partner for both: cutmix+moex:same_partner=True"""
    runs: PlannedRuns = PlannedRuns()
    parallel: Parallel = Parallel()
    execution: Execution = Execution()
    keep_weights: bool = False
    """Keep the trained weights of each run, weights.safetensors in its folder, for `predict` and `export`."""
    out: Path = Path("runs/compare")
    """Folder for the runs and the report."""

    def check(self) -> None:
        super().check()
        if not self.methods:
            raise ValueError("methods needs at least one method; got none at all. Write --methods none moex.")
        for spec in self.methods:
            folder_of("methods", spec)


@dataclass(frozen=True)
class Sweep(Setup):
    """Train a method with every combination of some options, and say what each of them is worth.

    Judged on a fifth of the training images, held out once; the test images are left alone unless --evaluate test.
    Complete runs in the folder are kept: rerun the command to resume; values, axes and seeds may be added.
    """

    judging: Judging = Judging(evaluate="validation")
    method: str = "moex"
    """The method, with the options that stay the same: moex:norm=in"""
    grid: tuple[str, ...] = ("lam=0.5/0.7/0.9", "p=0.25/0.5/1")
    """Axes, NAME=VALUE/VALUE/... NAME is an option of the method (lam, p, norm, at, ...), a training setting
    (train_size, width, lr, ...), or `method` itself. Lists inside a value use +: at=stem/layer1/stem+layer1"""
    reference: str = "none"
    """The method that all others are compared with, trained once for each combination of training settings."""
    controls: tuple[str, ...] | None = None
    """Other methods to train beside the grid. None: if the method is MoEx, its labels alone."""
    steps: int | None = None
    """Number of steps, the same for every training set size and batch size: it replaces --epochs."""
    runs: RunSettings = RunSettings(seeds=10)
    parallel: Parallel = Parallel()
    execution: Execution = Execution()
    out: Path = Path("runs/sweep")
    """Folder for the runs, the tables and the figures."""

    def check(self) -> None:
        super().check()
        at_least(1, "steps", self.steps, "step")
        epochs = [axis for axis in self.grid if axis.partition("=")[0] == "epochs"]
        epochs += [] if self.training.epochs is None else [f"epochs={self.training.epochs}"]
        if self.steps is not None and epochs:
            raise ValueError(f"steps sets the epochs of every combination; got {epochs[0]} too. Leave one out.")
        if not self.grid:
            raise ValueError("grid needs at least one axis; got none. Write --grid lam=0.5/0.7/0.9, for example.")


@dataclass(frozen=True)
class Probe(Setup):
    """Ask what moments predict: the error with the moments of features alone, with normalized features alone, and with
    the features themselves, beside chance.

    For each seed the network is trained as usual. Its features at the place are then what the rest of the network, new
    from there on, is trained on: whole, or one part of them alone. Complete runs in the folder are kept, and norms and
    seeds may be added.
    """

    evaluate: Evaluate = "test"
    """Which images are judged. test: the test images. validation: a fifth of the training images, held out once."""
    norms: tuple[str, ...] = ("pono", "in")
    """What one moment averages over: pono, in, ln, gn4, gpono2, ..."""
    at: str | None = None
    """The place. None: after the stem, the paper's."""
    quick: bool = False
    """In place of the rest of the network, a logistic regression on pooled statistics."""
    trained: bool = True
    """Whether the features are those of the trained network. --no-trained: of the network before training."""
    runs: RunSettings = RunSettings(seeds=8)
    parallel: Parallel = Parallel()
    execution: Execution = Execution()
    out: Path = Path("runs/probe")
    """Folder for the runs, the table and the figure."""

    def check(self) -> None:
        super().check()
        if not self.norms:
            raise ValueError("norms needs at least one norm; got none. Write --norms pono in.")
        if len(set(self.norms)) < len(self.norms):
            raise ValueError(f"norms needs each norm once; got {', '.join(self.norms)}. Leave the second one out.")


@dataclass(frozen=True)
class Inspect(Setup):
    """Draw the moments of images through the layers of a network, and what their exchange does.

    Mean and standard deviation over the channels (pono) are maps: one number a position. They are drawn for the network
    before training and, with --weights, --pretrained or --train, after it.
    """

    image: tuple[str, ...] = ("china", "flower")
    """One image or more; the first gets the moments of the second. A file; china or flower, the photographs that come
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
        if self.train and self.model.fine_tunes and self.model.model == "small":
            raise ValueError("the weights come from --weights or from --train; got both. Leave one out.")


@dataclass(frozen=True)
class Train(Setup):
    """Train once with one method, on one device or on several, and keep the trained weights.

    A checkpoint is saved after each epoch, and after the step that runs when Ctrl-C or SIGTERM comes: rerun the command
    to resume; the result is the same.
    """

    judging: Judging = Judging()
    recipe: str | None = None
    """Start from the settings of one of the paper's experiments; other flags override them. cifar10-pyramidnet200,
    cifar100-pyramidnet200, imagenet-resnet50, imagenet-resnet50-cutmix."""
    method: str = "moex"
    """none, moex, cutmix+moex:p=0.25 or another, with options, as in `compare`."""
    seed: int = 0
    """Draws the training images, the initial weights and the order of the batches."""
    devices: int = 1
    """Devices that share each batch (DDP). On the CPU: processes."""
    threads: int = 1
    """Threads of each process on the CPU. Another number may change the last digits of a result."""
    execution: Execution = Execution()
    out: Path = Path("runs/train")
    """Folder for the checkpoint, the weights, the metrics and the predictions."""

    def check(self) -> None:
        super().check()
        at_least(0, "seed", self.seed, "")
        at_least(1, "devices", self.devices, "device")
        at_least(1, "threads", self.threads, "thread")
        if self.execution.tensorboard:
            folder_of("method", self.method)
        if self.training.batch_size < 2 * self.devices:
            raise ValueError(
                f"batch_size needs 2 images for each of {self.devices} devices; got {self.training.batch_size}. "
                f"Write --batch-size {2 * self.devices} or more."
            )


@dataclass(frozen=True)
class Places(Settings):
    """List what a method can be attached to in a model: names for `at=`, in the order in which they run.

    The image is one of the data set's.
    """

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    depth: int = 3
    """Levels of names to show."""

    def check(self) -> None:
        super().check()
        at_least(1, "depth", self.depth, "level")


@dataclass(frozen=True)
class Predict(Settings):
    """Name the classes of pictures, with the probability of each, by the trained weights of a run.

    Pictures are prepared as those of the test were. Several files of weights, of several seeds for example, are an
    ensemble: the probabilities are averaged.
    """

    weights: tuple[Path, ...] = ()
    """Files weights.safetensors, of a train or of a compare --keep-weights."""
    images: Path | None = None
    """Folder of pictures, those in folders below it too; or one picture."""
    out: Path = Path("predictions.csv")
    """File for a line for each picture: file, class, and the probability of each class."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    batch_size: int = 100
    """Pictures at a time."""

    def check(self) -> None:
        super().check()
        if not self.weights:
            raise ValueError("weights needs one file or more; got none. Write --weights FILE.")
        for path in self.weights:
            check_weights(path)
        if self.images is None:
            raise ValueError("images needs a folder of pictures, or a picture; got none. Write --images FOLDER.")
        at_least(1, "batch_size", self.batch_size, "picture")
        if self.out.is_dir():
            raise ValueError(
                f"out needs a file; got the folder '{self.out}'. Write --out '{self.out}/predictions.csv'."
            )


@dataclass(frozen=True)
class Export(Settings):
    """Write a trained network as a file that runs without torchmoments: a program of torch.export, or ONNX.

    It takes images as they are prepared for the network, in batches of any size, and gives the probability of each
    class. How to prepare them is in the file, and in a JSON file beside it.
    """

    weights: Path | None = None
    """File weights.safetensors, of a train or of a compare --keep-weights."""
    out: Path = Path("model.pt2")
    """File to write: .pt2 for torch.export, .onnx for ONNX."""

    def check(self) -> None:
        super().check()
        if self.weights is None:
            raise ValueError("weights needs a file; got none. Write --weights FILE.")
        check_weights(self.weights)
        # Its description is beside it.
        check_path("out", self.out.with_name(f"{self.out.name}.json"))
        if self.out.suffix not in (".pt2", ".onnx") or self.out.is_dir():
            raise ValueError(f"out needs a file ending in .pt2 or .onnx; got '{self.out}'. Write --out model.pt2.")


@dataclass(frozen=True)
class Report(Settings):
    """Make the report of a comparison again, from its folder alone. Nothing is trained."""

    out: Path
    """Folder of a comparison, the --out of a compare."""
    metric: Metric | None = None
    """What to judge by, in place of the metric of the comparison; the report says so."""
