"""What a command does beside the runs; none of it changes a result."""

from dataclasses import dataclass
from importlib.util import find_spec

from torchmoments_lab.typed import Settings


@dataclass(frozen=True)
class Execution(Settings):
    """What is done beside training."""

    dry_run: bool = False
    """Check everything, say what would be trained and about how long it takes, and write nothing."""
    tensorboard: bool = False
    """Write the epochs of each run to OUT/tensorboard, for TensorBoard. Needs the extra torchmoments[tensorboard]."""

    def check(self) -> None:
        if self.tensorboard and find_spec("tensorboard") is None:
            raise ValueError(
                "tensorboard needs the package tensorboard, which is not installed. Install it with: pip install "
                "'torchmoments[tensorboard]'"
            )
