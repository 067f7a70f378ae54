"""`torchmoments train`: one run in a folder of its own, on one device or several, kept after each epoch.

OUT/checkpoint.pt     while it trains; taken up again by the same command
OUT/...               a run folder, see `runs`, and weights.safetensors, when it is complete
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchmoments_lab.config import SingleConfig
from torchmoments_lab.files import read_record
from torchmoments_lab.lock import hold
from torchmoments_lab.methods import parse_method
from torchmoments_lab.metrics import NAMES
from torchmoments_lab.prepare import Notice, prepare, silent
from torchmoments_lab.runs import Run
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import make_fabric
from torchmoments_lab.training.train import train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Progress = Callable[[int, int], None]
CHECKPOINT = "checkpoint.pt"


def is_first_rank() -> bool:
    """Whether this process is the one that writes and prints. The others are started by Fabric with their rank."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def train_once(
    config: SingleConfig, progress: Progress = lambda done, total: None, notice: Notice = silent
) -> dict[str, Any]:
    """Train, or go on where this run was stopped, and write its folder.

    With several devices, Fabric starts this process again for each of the others.

    Args:
        config: what to train, and where to keep it.
        progress: called with the number of epochs done and their total.
        notice: is told what was decided that the settings do not say.

    Returns:
        What summary.json holds, with the metric and the number of epochs.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
        FloatingPointError: the loss is not finite.
    """
    task = prepare(config, [config.method], notice=notice, devices=config.devices)
    data = task.load()
    task = replace(task, facts=(*task.facts, ("devices", config.devices)))
    run = Run(config.out, task, config.method, config.seed)
    first = is_first_rank()
    with _held(config.out) if first else nullcontext():
        if first and run.is_complete():
            notice(f"This run is complete in {config.out}.")
            return _summary(run)
        # It tells each start of a process.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = make_fabric(task.config, config.devices)
        with _ranks_of(fabric):
            checkpoint = Checkpoint(run.folder / CHECKPOINT, run.settings())
            result = train(
                task,
                parse_method(config.method),
                config.seed,
                data,
                fabric=fabric,
                threads=config.threads,
                checkpoint=checkpoint,
                progress=progress,
            )
            if first:
                run.write(result, data, threads=config.threads, keep_weights=True)
                (run.folder / CHECKPOINT).unlink(missing_ok=True)
            fabric.barrier()
        return _summary(run)


@contextmanager
def _ranks_of(fabric: "Fabric") -> Iterator[None]:
    """The processes of the other ranks run; on any exception they are killed at once: they would wait for this one."""
    try:
        fabric.launch()
        yield
    except BaseException:
        for process in getattr(fabric.strategy.launcher, "procs", []):
            process.kill()
        raise


def _held(out: Path) -> AbstractContextManager[None]:
    """Check that the folder is new, empty or of this command, and hold it."""
    # Other programs have a config.json too.
    is_run = {"method", "seed"} <= (read_record(out / "config.json") or {}).keys()
    return hold(out, known=("config.json", CHECKPOINT) if is_run else (CHECKPOINT,), kind="train")


def _summary(run: Run) -> dict[str, Any]:
    written = read_record(run.folder / "summary.json")
    assert written is not None
    return written | {"metric": NAMES[run.task.config.metric], "epochs": run.task.config.epochs}
