"""The state of a run after an epoch or a step, in one file: written whole or not at all, read without unpickling."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from torchmoments_lab.files import in_memory, write_bytes
from torchmoments_lab.lock import refuse_other_settings


@dataclass(frozen=True)
class Checkpoint:
    """A file, and the run that it belongs to.

    Args:
        path: of the file.
        identity: settings, method, seed, number of devices: another run is not resumed.
        seconds: that pass between two states at least: epochs may be shorter than it takes to write one.
    """

    path: Path
    identity: dict[str, Any]
    seconds: float = 0.0
    _last: list[float] = field(default_factory=lambda: [time.monotonic()], repr=False)

    def is_due(self) -> bool:
        """Whether so many seconds have passed since the last time that they had."""
        if time.monotonic() - self._last[0] < self.seconds:
            return False
        self._last[0] = time.monotonic()
        return True

    def write(self, state: dict[str, Any]) -> None:
        content = {"identity": self.identity, "state": state}
        write_bytes(self.path, in_memory(lambda file: torch.save(content, file)))

    def read(self) -> dict[str, Any] | None:
        """The state; None if there is no file.

        Raises:
            ValueError: the file is damaged, or of another run; the sentence says what differs.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            before, state = dict(content["identity"]), dict(content["state"])
            lengths = {len(state["epochs"]), len(state["seconds"]), state["epoch"]}
            if len(lengths) > 1 or type(state["epoch"]) is not int:
                raise self.damaged()
        except Exception as error:
            raise self.damaged() from error
        refuse_other_settings(self.path.parent, before, self.identity)
        return state

    def damaged(self) -> ValueError:
        """The error for a file that is not what `write` wrote."""
        return ValueError(f"a checkpoint needs to be whole; '{self.path}' is not. Remove it, and start again.")
