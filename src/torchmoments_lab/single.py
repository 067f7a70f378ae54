"""`torchmoments train`: one run in a folder of its own, on one device or several, saved after each epoch.

OUT/checkpoint.pt     while it trains; the same command resumes from it
OUT/...               a run folder, see `runs`, and weights.safetensors, when it is complete
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torchmoments_lab.files import read_record
from torchmoments_lab.lock import hold
from torchmoments_lab.requests import Train
from torchmoments_lab.resolve import Notice, resolve, silent
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


def train_once(request: Train, progress: Progress = lambda done, total: None, notice: Notice = silent) -> Run:
    """Train, or resume this run, and write its folder.

    With several devices, Fabric starts this process again for each of the others.

    Args:
        request: what to train, and the folder.
        progress: called with the number of epochs done and their total.
        notice: called with what was decided that the request does not say.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
        FloatingPointError: the loss is not finite.
    """
    request.check()
    experiment = resolve(
        request, request.judging, [request.method], notice=notice, devices=request.devices
    ).experiment.with_facts(devices=request.devices)
    run = Run(request.out, experiment, experiment.methods[0], request.seed, keeps_weights=True)
    first = is_first_rank()
    with _held(run.folder) if first else nullcontext():
        if first and run.is_complete():
            notice(f"This run is complete in {run.folder}.")
            return run
        # It logs each start of a process.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = make_fabric(experiment.training, request.devices)
        with _ranks_of(fabric):
            checkpoint = Checkpoint(run.folder / CHECKPOINT, run.settings())
            result = train(
                experiment,
                run.method,
                run.seed,
                fabric=fabric,
                threads=request.threads,
                checkpoint=checkpoint,
                progress=progress,
            )
            if first:
                run.write(result, threads=request.threads)
                checkpoint.path.unlink(missing_ok=True)
            fabric.barrier()
        return run


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
