"""`torchmoments train`: one run in a folder of its own, on one device or several.

Its state is saved after each epoch, and after a step if a signal ends it.

OUT/checkpoint.pt     while it trains; the same command resumes from it
OUT/.metrics.csv      the epochs so far, while it trains
OUT/...               a run folder, see `runs`, and weights.safetensors, when it is complete
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING

from torchmoments_lab.durations import about
from torchmoments_lab.files import read_record
from torchmoments_lab.forecast import DRY, described, seconds_of
from torchmoments_lab.jobs import Progress, Watch, unwatched
from torchmoments_lab.lock import hold
from torchmoments_lab.pool import cause_of_death
from torchmoments_lab.process import is_first_rank
from torchmoments_lab.report.reading import read_run
from torchmoments_lab.report.summary import Failure
from torchmoments_lab.requests import Train
from torchmoments_lab.resolve import Notice, resolve, silent
from torchmoments_lab.runs import Run, events_folder
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import check_device, make_fabric
from torchmoments_lab.training.timing import cost_of
from torchmoments_lab.training.train import train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT = "checkpoint.pt"
_SECONDS_OF_A_DEATH = 3


class RankError(RuntimeError):
    """The process of another rank ended, so that this one cannot go on."""


class _Run(Run):
    """A run that has a folder for itself, with all that is its own in it."""

    def _beside(self, what: str) -> Path:
        return self.folder / f".{what}"


def train_once(request: Train, watch: Watch = unwatched, notice: Notice = silent) -> Run | None:
    """Train, or resume this run, and write its folder.

    With several devices, Fabric starts this process again for each of the others.

    Args:
        request: what to train, and the folder.
        watch: called with the progress: that the run is training.
        notice: called with what was decided that the request does not say, and with what is going to be trained.

    Returns:
        The run; None after a dry run.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
        FloatingPointError: the loss is not finite.
        RankError: the process of another device died.
    """
    request.check()
    _check_launcher(request.devices)
    check_device(request.training, request.devices)
    resolved = resolve(request, request.judging, [request.method], notice=notice)
    experiment = resolved.experiment.with_facts(devices=request.devices)
    method, dry_run = experiment.methods[0], request.execution.dry_run
    events = events_folder(request.out, method, request.seed) if request.execution.tensorboard else None
    run = _Run(request.out, experiment, method, request.seed, keeps_weights=True, events=events)
    first = is_first_rank()
    with _held(run.folder, dry_run) if first else nullcontext():
        checkpoint = Checkpoint(run.folder / CHECKPOINT, run.settings())
        if first and run.is_complete():
            _check_whole(run)
            notice(f"This run is complete in {run.folder}.")
            if dry_run:
                return None
            # It may have ended before this was removed.
            checkpoint.path.unlink(missing_ok=True)
            return run
        if first:
            notice(_forecast(run, checkpoint, request))
        if dry_run:
            notice(DRY)
            return None
        # It logs each start of a process.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = make_fabric(experiment.training, request.devices)
        log = run.log()
        with _ranks_of(fabric):
            if first:
                watch(Progress(0, 1, (run,)))
            try:
                result = train(
                    experiment,
                    run.method,
                    run.seed,
                    fabric=fabric,
                    threads=request.threads,
                    checkpoint=checkpoint,
                    log=log,
                )
                if first:
                    run.write(result, threads=request.threads)
                    checkpoint.path.unlink(missing_ok=True)
            finally:
                if first:
                    log.end(run.summary().get("error"))
            fabric.barrier()
        return run


def _check_whole(run: Run) -> None:
    """Raise ValueError if a file of a complete run is damaged."""
    found = read_run(run.folder, run.method.spec, run.seed)
    if isinstance(found, Failure):
        raise ValueError(f"{found.reason}.")


def _forecast(run: Run, checkpoint: Checkpoint, request: Train) -> str:
    """What is going to be trained, and about how long it takes."""
    experiment, state = run.experiment, checkpoint.read()
    done = 0 if state is None else state["epoch"]
    device, devices, threads = check_device(experiment.training).type, request.devices, request.threads
    where = device if devices == 1 else f"{devices} devices, {device}"
    where += f", {threads} threads each" if device == "cpu" and threads > 1 else ""
    from_ = f", {done} of them complete already" if done else ""
    cost = None if devices > 1 else cost_of(experiment, run.method, threads=threads)
    seconds = None if cost is None else seconds_of(experiment, cost, experiment.epochs - done)
    time = "" if seconds is None else f" That takes {about(seconds)}."
    return f"{run.name}: {described([experiment])}{from_}; on {where}.{time}"


def _check_launcher(devices: int) -> None:
    """Raise ValueError unless torchrun, if it started this, started as many processes as there are to be."""
    started = int(os.environ.get("WORLD_SIZE") or 1) if "TORCHELASTIC_RUN_ID" in os.environ else devices
    if started != devices:
        raise ValueError(
            f"devices needs the number of processes that torchrun has started, {started}; got {devices}. Write "
            f"--devices {started}, or leave torchrun out: torchmoments starts the processes itself."
        )


@contextmanager
def _ranks_of(fabric: "Fabric") -> Iterator[None]:
    """The processes of the other ranks run; on any exception they are killed at once: they would wait for this one."""
    try:
        fabric.launch()
        yield
    except BaseException as error:
        processes = getattr(fabric.strategy.launcher, "procs", [])
        why = _end_of_a_rank(processes) if isinstance(error, RuntimeError) else None
        for process in processes:
            process.kill()
        if why is None:
            raise
        raise RankError(why) from error


def _end_of_a_rank(processes: Sequence[Popen[bytes]]) -> str | None:
    """How the first of the other ranks ended that did; None if all of them run, or cannot be seen from here."""
    # The connection breaks before the end of the process is told.
    deadline = time.monotonic() + _SECONDS_OF_A_DEATH
    while processes and time.monotonic() < deadline:
        for rank, process in enumerate(processes, 1):
            if process.poll() is not None:
                return f"the process of device {rank + 1} died {cause_of_death(process.returncode)}"
        time.sleep(0.1)
    return None


def _held(out: Path, dry_run: bool) -> AbstractContextManager[None]:
    """Check that the folder is new, empty or of this command, and hold it."""
    # Other programs have a config.json too.
    is_run = {"method", "seed"} <= (read_record(out / "config.json") or {}).keys()
    return hold(out, known=("config.json", CHECKPOINT) if is_run else (CHECKPOINT,), kind="train", dry_run=dry_run)
