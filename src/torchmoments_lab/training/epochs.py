"""What each epoch of a run came to, written while it trains: a CSV file, line by line, and TensorBoard's events."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from torchmoments_lab.files import as_csv, naming, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

# More than a line has.
_END = 512
_SECONDS_BETWEEN_WRITES = 10


@dataclass(frozen=True)
class Epoch:
    """Means over the images of one epoch, in train mode. Loss and accuracy (percent) count mixed labels by weight.

    `mixed` is the percentage of its steps in which images or features were mixed. `lr` is that of its first step, of
    the body, if the classifier has another.
    """

    epoch: int
    loss: float
    accuracy: float
    mixed: float
    lr: float


class EpochLog:
    """The epochs of one run, to be followed while it trains.

    Args:
        path: of the CSV file, which is there as long as the run trains; it becomes the metrics.csv of the run's folder.
        events: folder for TensorBoard's events; None: none are written.
    """

    def __init__(self, path: Path, events: Path | None = None) -> None:
        self.path = path
        self.events = events
        self._writer: SummaryWriter | None = None

    def begin(self, epochs: Sequence[Epoch]) -> None:
        """Start with the epochs before a resumed one, whatever else an attempt before has left."""
        header = ",".join(field.name for field in fields(Epoch)) + "\n"
        write_text(self.path, as_csv([asdict(epoch) for epoch in epochs]) if epochs else header)
        if self.events is not None:
            from torch.utils.tensorboard.writer import SummaryWriter

            self._hook_before = threading.excepthook
            threading.excepthook = _of_a_thread
            shutil.rmtree(self.events, ignore_errors=True)
            self._writer = SummaryWriter(str(self.events), flush_secs=_SECONDS_BETWEEN_WRITES)
            for epoch in epochs:
                self._write_events(epoch)

    def add(self, epoch: Epoch) -> None:
        with naming(self.path), self.path.open("a") as file:
            # In one piece: nobody who follows the file sees half a line.
            file.write(",".join(map(str, astuple(epoch))) + "\n")
        self._write_events(epoch)

    def end(self, error: float | None = None) -> None:
        """The run has ended, with this error if it did not fail; the CSV file goes."""
        self.path.unlink(missing_ok=True)
        if self._writer is not None:
            if error is not None:
                self._writer.add_scalar("error", error)
            self._writer.close()
            self._writer = None
            threading.excepthook = self._hook_before

    def _write_events(self, epoch: Epoch) -> None:
        if self._writer is not None:
            for name, value in asdict(epoch).items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, epoch.epoch)


def _of_a_thread(arguments: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread, and raises what that raised again in ours: a full disk need not be told twice."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def last_epoch(path: Path) -> Epoch | None:
    """The last epoch in the CSV file of a run that trains, None if there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END))
            *lines, _ = file.read().decode().split("\n")
        number, *values = lines[-1].split(",")
        return Epoch(int(number), *map(float, values))
    except (OSError, ValueError, LookupError, TypeError):
        # It has not begun, has just ended, or this is the header.
        return None
