"""The settings of `torchmoments sweep`."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.config import Evaluate, TrainConfig, at_least


@dataclass(frozen=True)
class SweepConfig(TrainConfig):
    """Train a method with every combination of some options, and say which are worth what.

    Judged on a fifth of the training images, held out once; the test images are left alone unless --evaluate test.
    Complete runs in the folder are kept: the same command goes on where it was stopped, and values, axes and seeds may
    be added.
    """

    method: str = "moex"
    """The method, with the options that stay the same: moex:norm=in"""
    grid: tuple[str, ...] = ("lam=0.5/0.7/0.9", "p=0.25/0.5/1")
    """Axes, NAME=VALUE/VALUE/... NAME is an option of the method (lam, p, norm, at, ...), a training setting
    (train_size, width, lr, ...), or `method` itself. Lists inside a value use +: at=stem/layer1/stem+layer1"""
    reference: str = "none"
    """The method that all others are compared with, trained once for each combination of training settings."""
    controls: tuple[str, ...] = ()
    """Other methods to train beside the grid."""
    steps: int | None = None
    """Number of steps, the same for every training set size and batch size: it replaces --epochs."""
    seeds: int = 10
    """Runs of each combination. Runs of one seed are paired."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core."""
    out: Path = Path("runs/sweep")
    """Folder for the runs, the tables and the figures."""
    evaluate: Evaluate = "validation"
    """Which images the error is of. validation: a fifth of the training images. test: the test images; for numbers to
    publish, not for choosing."""

    def check(self) -> None:
        super().check()
        at_least(1, "seeds", self.seeds, "seed")
        at_least(1, "steps", self.steps, "step")
        at_least(1, "workers", self.workers, "worker")
        if not self.grid:
            raise ValueError("grid needs at least one axis; got none. Write --grid lam=0.5/0.7/0.9, for example.")
