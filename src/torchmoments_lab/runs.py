"""A run is a folder: config.json env.json metrics.csv predictions.npy summary.json.

It is written under a temporary name and moved; into a folder that is there already file by file, summary.json last, so
that a run with a summary is always whole. While a run trains, its lock is held.
A run that failed leaves a folder too, with the reason in summary.json; it is tried again next time.

    OUT/runs/METHOD/seed3     of a comparison; METHOD is the word as typed, percent-encoded
"""

import csv
import platform
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import filelock
import numpy as np
import torch

from torchmoments_lab.config import Setting
from torchmoments_lab.data.split import Data
from torchmoments_lab.files import damaged, read_record, write_record
from torchmoments_lab.lock import refuse_other_settings
from torchmoments_lab.machine import cpu_name, version_of
from torchmoments_lab.methods import parse_method
from torchmoments_lab.metrics import score
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.task import Task
from torchmoments_lab.training.train import Result, train

# Longer than a worker outlives its parent.
_LOCK_SECONDS = 10
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Run:
    """One training of one configuration: what is trained, a method's word, a seed, and the run's own folder."""

    folder: Path
    task: Task
    method: str
    seed: int

    @classmethod
    def of_comparison(cls, out: Path, task: Task, method: str, seed: int, **more: Any) -> Self:
        """A run in its place in a folder of many; `more` is what a kind of run has besides."""
        return cls(out / "runs" / quote(method, safe="=,") / f"seed{seed}", task, method, seed, **more)

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"

    def on(self, device: str) -> Self:
        """The same run on one of several devices."""
        return replace(self, task=replace(self.task, config=replace(self.task.config, device=device)))

    def settings(self) -> dict[str, Setting]:
        return self.task.settings() | {"method": self.method, "seed": self.seed}

    def is_complete(self) -> bool:
        """Whether the folder holds this run, whole.

        Raises:
            ValueError: a file in it is damaged, or it is a run with other settings.
        """
        summary = read_record(self.folder / "summary.json")
        if summary is None or "failed" in summary:
            return False
        path = self.folder / "config.json"
        config = read_record(path)
        if config is None:
            raise damaged(path, "it is missing")
        refuse_other_settings(self.folder, config, self.settings())
        return True

    def train(self) -> str | None:
        """Train, unless the run is complete already, and write the folder.

        Returns:
            None, or the reason why the run failed.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self._beside("lock"), timeout=_LOCK_SECONDS):
                if self.is_complete():
                    return None
                shutil.rmtree(self._beside("tmp"), ignore_errors=True)
                try:
                    data = self.task.load()
                    self.write(self.trained(data), data)
                except Exception as error:
                    reason = str(error) if isinstance(error, FloatingPointError) else f"{type(error).__name__}: {error}"
                    self.record_failure(reason, traceback.format_exc())
                    return reason
                return None
        except filelock.Timeout:
            return "another process is training this run; start again when it has ended"

    def trained(self, data: Data) -> Result:
        """Do the training itself."""
        return train(self.task, parse_method(self.method), self.seed, data)

    def record_failure(self, reason: str, trace: str | None = None) -> None:
        """Write the folder of a run that failed."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._new_folder(self._summary(None, reason=reason, trace=trace)):
            pass

    def write(self, result: Result, data: Data, *, threads: int = 1, keep_weights: bool = False) -> None:
        """Write the folder of a run that is complete."""
        rows = with_targets(result, data)
        summary = self._summary(score(self.task.config.metric, rows), seconds=result.seconds)
        with self._new_folder(summary, threads) as folder:
            with (folder / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(result.epochs[0]))
                writer.writeheader()
                writer.writerows(result.epochs)
            np.save(folder / "predictions.npy", rows)
            if keep_weights:
                from safetensors.torch import save_file

                # Copies: tensors that share memory are refused.
                save_file({name: t.clone().contiguous() for name, t in result.weights.items()}, folder / WEIGHTS)

    def _summary(
        self, error: float | None, *, seconds: float | None = None, reason: str | None = None, trace: str | None = None
    ) -> dict[str, Any]:
        named = {"method": self.method, "seed": self.seed, "error": error, "seconds": seconds}
        return named if reason is None else named | {"failed": reason, "traceback": trace}

    @contextmanager
    def _new_folder(self, summary: dict[str, Any], threads: int = 1) -> Iterator[Path]:
        """A folder under a temporary name, moved to its own when the block ends."""
        is_new = not self.folder.exists()
        temporary = self._beside("tmp") if is_new else self.folder / ".tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_record(temporary / "config.json", self.settings())
        write_record(temporary / "env.json", environment(self.task, threads))
        yield temporary
        write_record(temporary / "summary.json", summary)
        if is_new:
            temporary.rename(self.folder)
            return
        # It may be a link or a mount, and hold more than is ours. The summary goes last: it says that the run is whole.
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == "summary.json"):
            path.replace(self.folder / path.name)
        temporary.rmdir()

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{what}")


def with_targets(result: Result, data: Data) -> np.ndarray:
    """[N] records of (target, predicted, scores [K]), so that a run folder alone gives every metric."""
    assert result.scores is not None
    classes = result.scores.shape[1]
    rows = np.empty(
        len(result.scores), dtype=[("target", np.int64), ("predicted", np.int64), ("scores", np.float32, (classes,))]
    )
    rows["target"] = data.test.labels.numpy()
    rows["predicted"] = result.scores.argmax(1)
    rows["scores"] = result.scores
    return rows


def environment(task: Task, threads: int = 1) -> dict[str, str | int]:
    """What else a result may depend on."""
    device = check_device(task.config)
    library = task.config.model.partition("/")[0]
    versions: dict[str, str | int] = {
        name: version_of(name) for name in ("timm", "torchvision", "pytorchcv") if name == library
    }
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "torchmoments": version_of("torchmoments"),
        **versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": cpu_name(),
        "threads": threads,
        "system": platform.platform(),
    }
