"""A run is a folder: config.json env.json metrics.csv predictions.npy summary.json, and weights.safetensors if it keeps
its weights.

It is written under a temporary name and moved; into a folder that exists already file by file, summary.json last, so
that a run with a summary is always whole. While a run trains, its lock is held.
A run that failed leaves a folder too, with the reason in summary.json; it is tried again next time.

    OUT/runs/SPEC/seed3                 of a comparison; SPEC is that of the method as typed, percent-encoded
    OUT/runs/SPEC/.seed3.metrics.csv    the epochs so far, while it trains
    OUT/tensorboard/SPEC/seed3          the same for TensorBoard, if that is asked for
"""

import platform
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import filelock
import numpy as np
import torch
from torch import Tensor

from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import (
    UNFINISHED,
    as_csv,
    damaged,
    in_memory,
    is_of_the_disk,
    naming,
    read_record,
    runs_folder,
    write_bytes,
    write_record,
    write_text,
)
from torchmoments_lab.lock import refuse_other_settings
from torchmoments_lab.machine import cpu_name, version_of
from torchmoments_lab.metadata import Metadata
from torchmoments_lab.methods import Method
from torchmoments_lab.metrics import NAMES, score
from torchmoments_lab.models.weights import read_safetensors, write_safetensors
from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.settings import WEIGHTS, Setting
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.epochs import Epoch, EpochLog, last_epoch
from torchmoments_lab.training.train import Result, train

# Longer than a worker outlives its parent.
_LOCK_SECONDS = 10
_SECONDS_BETWEEN_CHECKPOINTS = 60
# What a run writes below the folder of `within`.
_FOLDER, _EVENTS = "run", "events"


@dataclass(frozen=True)
class Run:
    """One training: an experiment, a method, a seed, and the run's own folder.

    Args:
        events: folder for TensorBoard's events; None: none are written.
    """

    folder: Path
    experiment: Experiment
    method: Method
    seed: int
    keeps_weights: bool = False
    events: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.method.spec} seed {self.seed}"

    @property
    def epochs(self) -> int:
        return self.experiment.epochs

    @classmethod
    def of_many(
        cls, out: Path, experiment: Experiment, method: Method, seed: int, *, tensorboard: bool = False, **more: Any
    ) -> Self:
        """A run in its place in a folder of many; `more` is what a kind of run has besides."""
        events = events_folder(out, method, seed) if tensorboard else None
        return cls(runs_folder(out, method.spec) / f"seed{seed}", experiment, method, seed, events=events, **more)

    @property
    def epochs_file(self) -> Path:
        """Where its epochs are written while it trains."""
        return self._beside("metrics.csv")

    def on(self, device: str) -> Self:
        """The same run on this device."""
        training = replace(self.experiment.training, device=device)
        return replace(self, experiment=replace(self.experiment, training=training))

    def within(self, folder: Path) -> Self:
        """The same run, with all that it writes below this folder."""
        events = None if self.events is None else folder / _EVENTS
        return replace(self, folder=folder / _FOLDER, events=events)

    def with_files_read(self) -> Self:
        return self

    def log(self) -> EpochLog:
        return EpochLog(self.epochs_file, self.events)

    def last_epoch(self) -> Epoch | None:
        """What the last epoch came to, of a run that is training, maybe in another process."""
        return last_epoch(self.epochs_file)

    def outcome(self, digits: int = 1) -> str:
        """What came of a run that is complete, in few words."""
        metric = self.experiment.metric
        return f"{NAMES[metric]} {self.summary()['error']:.{digits}f}{'' if metric == 'log-loss' else '%'}"

    def settings(self) -> dict[str, Setting]:
        return {**self.experiment.shared, "method": self.method.spec, "seed": self.seed}

    def is_complete(self) -> bool:
        """Whether the folder holds this run, whole.

        Raises:
            ValueError: a file in it is damaged, or it is a run with other settings.
        """
        summary = self.summary()
        if not summary or "failed" in summary:
            return False
        path = self.folder / "config.json"
        config = read_record(path)
        if config is None:
            raise damaged(path, "it is missing")
        anew = f"delete the folder '{self.folder}' to train this run anew"
        refuse_other_settings(self.folder, config, self.settings(), anew)
        return True

    def summary(self) -> dict[str, Any]:
        """What summary.json holds; {} before the run has ended."""
        return read_record(self.folder / "summary.json") or {}

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
                shutil.rmtree(self._beside(UNFINISHED.removeprefix(".")), ignore_errors=True)
                log = self.log()
                try:
                    with exits_are_errors():
                        result = self.trained(log)
                    self.write(result)
                    self._checkpoint.path.unlink(missing_ok=True)
                except Exception as error:
                    if is_of_the_disk(error):
                        raise
                    reason = str(error) if isinstance(error, FloatingPointError) else f"{type(error).__name__}: {error}"
                    self.record_failure(reason, traceback.format_exc())
                    return reason
                finally:
                    log.end(self.summary().get("error"))
                return None
        except filelock.Timeout:
            return "another process is training this run; start again when it has ended"

    def trained(self, log: EpochLog) -> Result:
        """Do the training itself."""
        return train(self.experiment, self.method, self.seed, checkpoint=self._checkpoint, log=log)

    @property
    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self._beside("pt"), self.settings(), seconds=_SECONDS_BETWEEN_CHECKPOINTS)

    def record_failure(self, reason: str, trace: str | None = None) -> None:
        """Write the folder of a run that failed."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._new_folder({"error": None, "seconds": None, "failed": reason, "traceback": trace}):
            pass

    def write(self, result: Result, *, threads: int = 1) -> None:
        """Write the folder of a run that is complete."""
        rows = with_targets(result, self.experiment.data.test.labels)
        summary = {"error": score(self.experiment.metric, rows), "seconds": result.seconds}
        with self._new_folder(summary, threads) as folder:
            write_text(folder / "metrics.csv", as_csv([asdict(epoch) for epoch in result.epochs]))
            write_bytes(folder / "predictions.npy", in_memory(lambda file: np.save(file, rows)))
            if self.keeps_weights:
                assert result.preparation is not None
                metadata = Metadata.of(self.experiment, self.method, self.seed, result.preparation, summary["error"])
                write_safetensors(folder / WEIGHTS, result.weights, metadata.entries())

    def receive(self, files: Mapping[str, bytes]) -> None:
        """Write what another machine wrote for this run: {path below the folder of `within`: content}."""
        if self.events is not None:
            shutil.rmtree(self.events, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._moved_here() as folder:
            for name, content in files.items():
                home, *inside = Path(name).parts
                place = {_FOLDER: folder, _EVENTS: self.events}.get(home)
                if place is not None:
                    path = place.joinpath(*inside)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with naming(path):
                        path.write_bytes(content)
        self._checkpoint.path.unlink(missing_ok=True)
        self.epochs_file.unlink(missing_ok=True)

    def weights(self) -> dict[str, Tensor]:
        """The trained weights, of a run that keeps them.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.folder / WEIGHTS
        try:
            return read_safetensors(path)
        except Exception as error:
            raise damaged(path, str(error)) from error

    def lacks_weights(self) -> bool:
        """Whether the run is to keep weights, and was complete before that was asked for."""
        return self.keeps_weights and not (self.folder / WEIGHTS).exists() and self.is_complete()

    @contextmanager
    def _new_folder(self, summary: Mapping[str, Any], threads: int = 1) -> Iterator[Path]:
        """A folder with the records of a run; the block writes the others."""
        with self._moved_here() as folder:
            write_record(folder / "config.json", self.settings())
            write_record(folder / "env.json", environment(self.experiment, threads))
            yield folder
            write_record(folder / "summary.json", {"method": self.method.spec, "seed": self.seed, **summary})

    @contextmanager
    def _moved_here(self) -> Iterator[Path]:
        """A folder under a temporary name, moved to its own when the block ends."""
        is_new = not self.folder.exists()
        temporary = self._beside(UNFINISHED.removeprefix(".")) if is_new else self.folder / UNFINISHED
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if is_new:
            temporary.rename(self.folder)
            return
        # It may be a link or a mount, and hold more than is ours. The summary goes last: it says that the run is whole.
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == "summary.json"):
            path.replace(self.folder / path.name)
        temporary.rmdir()

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{what}")


def events_folder(out: Path, method: Method, seed: int) -> Path:
    """Where TensorBoard's events of a run are."""
    return out / "tensorboard" / runs_folder(out, method.spec).name / f"seed{seed}"


def with_targets(result: Result, targets: Tensor) -> np.ndarray:
    """[N] records of (target, predicted, scores [K]), so that every metric can be computed from a run folder alone."""
    assert result.scores is not None
    number, classes = result.scores.shape
    rows = np.empty(number, [("target", np.int64), ("predicted", np.int64), ("scores", np.float32, (classes,))])
    rows["target"] = targets.numpy()
    rows["predicted"] = result.scores.argmax(1)
    rows["scores"] = result.scores
    return rows


def environment(experiment: Experiment, threads: int = 1) -> dict[str, str | int]:
    """What else a result may depend on."""
    device = check_device(experiment.training)
    library = experiment.network.settings.model.partition("/")[0]
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "torchmoments": version_of("torchmoments"),
        **({library: version_of(library)} if library in ("timm", "torchvision", "pytorchcv") else {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": cpu_name(),
        "threads": threads,
        "system": platform.platform(),
    }
