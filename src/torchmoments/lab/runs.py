"""A run is a folder: config.json env.json metrics.csv predictions.npy summary.json.

It is written under a temporary name and moved, so a run folder is always whole. While a run trains, its lock is held.
A run that failed leaves a folder too, with the reason in summary.json; it is tried again next time.

    OUT/runs/METHOD/seed3     METHOD is the word as typed, percent-encoded
"""

import csv
import json
import os
import platform
import shutil
import traceback
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
import numpy as np
import torch

from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data import load
from torchmoments.lab.data.split import Data
from torchmoments.lab.methods import parse_method
from torchmoments.lab.train import Result, train

# Longer than a worker outlives its parent.
_LOCK_SECONDS = 10


@dataclass(frozen=True)
class Run:
    """One training of one configuration: the settings, a method's word, a seed, and the folder it belongs to."""

    out: Path
    config: TrainConfig
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"

    @property
    def folder(self) -> Path:
        return self.out / "runs" / quote(self.method, safe="=,") / f"seed{self.seed}"

    def is_complete(self) -> bool:
        summary = read_json(self.folder / "summary.json")
        return summary is not None and "failed" not in summary

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
                    data = _load_once(self.config)
                    result = train(self.config, parse_method(self.method), self.seed, data)
                except Exception as error:
                    reason = str(error) if isinstance(error, FloatingPointError) else f"{type(error).__name__}: {error}"
                    self._write(self._summary(None, reason=reason, trace=traceback.format_exc()))
                    return reason
                self._write(self._summary(_error(result, data), seconds=result.seconds), result, data)
                return None
        except filelock.Timeout:
            return "another process is training this run; start again when it has ended"

    def record_failure(self, reason: str) -> None:
        """Write the folder of a run whose process could not."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._write(self._summary(None, reason=reason))

    def _summary(
        self, error: float | None, *, seconds: float | None = None, reason: str | None = None, trace: str | None = None
    ) -> dict[str, Any]:
        named = {"method": self.method, "seed": self.seed, "error": error, "seconds": seconds}
        return named if reason is None else named | {"failed": reason, "traceback": trace}

    def _write(self, summary: dict[str, Any], result: Result | None = None, data: Data | None = None) -> None:
        temporary = self._beside("tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_json(temporary / "config.json", self.config.settings() | {"method": self.method, "seed": self.seed})
        write_json(temporary / "env.json", environment())
        if result is not None and data is not None:
            with (temporary / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(result.epochs[0]))
                writer.writeheader()
                writer.writerows(result.epochs)
            np.save(temporary / "predictions.npy", with_targets(result, data))
        write_json(temporary / "summary.json", summary)
        # A failed run of an earlier time; a complete one is never written again.
        shutil.rmtree(self.folder, ignore_errors=True)
        temporary.rename(self.folder)

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{what}")


def with_targets(result: Result, data: Data) -> np.ndarray:
    """[N] records of (target, predicted), so that a run folder alone says which test images were wrong."""
    rows = np.empty(len(result.predicted), dtype=[("target", np.int64), ("predicted", np.int64)])
    rows["target"] = data.test.labels.numpy()
    rows["predicted"] = result.predicted
    return rows


def environment() -> dict[str, str | int]:
    """What else a result may depend on."""
    try:
        version = metadata.version("torchmoments")
    except metadata.PackageNotFoundError:
        version = "not installed"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "torchmoments": version,
        "cpu": _cpu_name(),
        "threads": 1,
        "system": platform.platform(),
    }


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def write_json(path: Path, value: Any) -> None:
    """Write under a temporary name and move, so that nobody reads half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, path)


def _error(result: Result, data: Data) -> float:
    return 100 * float(np.mean(result.predicted != data.test.labels.numpy()))


@lru_cache(maxsize=1)
def _load_once(config: TrainConfig) -> Data:
    return load(config)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
