"""The settings of `torchmoments probe`."""

from dataclasses import dataclass
from pathlib import Path

from torchmoments_lab.config import TrainConfig, at_least


@dataclass(frozen=True)
class ProbeConfig(TrainConfig):
    """Ask what the moments of the features know: the error with moments alone, with normalized features alone, and with
    the features themselves, beside chance.

    For each seed the network is trained as usual. Its features at the place are then what the rest of the network, new
    from there on, is trained on: whole, or one part of them alone. Complete runs in the folder are kept, and norms and
    seeds may be added.
    """

    norms: tuple[str, ...] = ("pono", "in")
    """What one moment averages over: pono, in, ln, gn4, gpono2, ..."""
    at: str | None = None
    """The place. None: after the stem, the paper's."""
    quick: bool = False
    """In place of the rest of the network, a logistic regression on pooled statistics."""
    trained: bool = True
    """Whether the features are those of the trained network. --no-trained: of the network before training."""
    seeds: int = 8
    """Runs of each kind. Runs of one seed are paired."""
    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core."""
    out: Path = Path("runs/probe")
    """Folder for the runs, the table and the figure."""

    def check(self) -> None:
        super().check()
        at_least(1, "seeds", self.seeds, "seed")
        at_least(1, "workers", self.workers, "worker")
        if not self.norms:
            raise ValueError("norms needs at least one norm; got none. Write --norms pono in.")
        if len(set(self.norms)) < len(self.norms):
            raise ValueError(f"norms needs each norm once; got {', '.join(self.norms)}. Leave the second one out.")
        if self.metric != "error":
            raise ValueError(f"probe counts errors; got metric {self.metric!r}. Leave --metric out.")
