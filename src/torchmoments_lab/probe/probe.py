"""Train the runs of a probe, and report them.

OUT/probe.json          the settings that all runs share
OUT/runs/VIEW/seed3     see `runs`
OUT/summary.json, table.md, probe.png, probe.svg     made of these, see `report`
"""

from pathlib import Path
from typing import Any

import torch

import torchmoments as tm
from torchmoments_lab.comparison import settings_of_runs
from torchmoments_lab.data.split import Data
from torchmoments_lab.files import read_record, write_record
from torchmoments_lab.lock import refuse_other_settings, working_in
from torchmoments_lab.pool import Progress, train_missing
from torchmoments_lab.prepare import Notice, prepare, silent
from torchmoments_lab.probe import report
from torchmoments_lab.probe.config import ProbeConfig
from torchmoments_lab.probe.runs import PlainRun, ViewRun, view_words
from torchmoments_lab.probe.views import Source, check_all_goes_through, view
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.task import Task

RECORD = "probe.json"


def probe(
    config: ProbeConfig, progress: Progress = lambda done, total: None, notice: Notice = silent
) -> dict[str, Any]:
    """Train what is missing in the folder, and report the norms that are asked for.

    Args:
        config: what to train, and where to keep it.
        progress: called with the number of runs done, complete ones of earlier times included, and their total.
        notice: is told what was decided that the settings do not say.

    Returns:
        What summary.json holds, see `report.summarize`.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    said: list[str] = []
    task = prepare(config, ("none",), notice=said.append)
    place = _checked_place(config, task, task.load())
    for sentence in said:
        notice(sentence)
    settings = task.settings() | {"at": place, "quick": config.quick, "trained": config.trained}
    # The default place of a method is not what decides here.
    settings.pop("place", None)
    with working_in(config.out, RECORD, "probe"):
        refuse_other_settings(config.out, _recorded(config.out, settings), settings)
        seeds = range(config.seeds)
        plain = [PlainRun.of_comparison(config.out, task, "none", seed) for seed in seeds] if config.trained else []
        views = [
            ViewRun.of_comparison(
                config.out,
                task,
                word,
                seed,
                place=place,
                plain=plain[seed].folder if config.trained else None,
                quick=config.quick,
            )
            for seed in seeds
            for word in view_words(config.norms)
        ]
        missing = [run for run in plain if not run.is_complete()]
        missing_views = [run for run in views if not run.is_complete()]
        write_record(config.out / RECORD, {"settings": settings})
        total = len(plain) + len(views)
        train_missing(missing, len(plain), config, config.workers, lambda done, _: progress(done, total))
        ready = [run for run in missing_views if run.plain is None or (run.plain / "predictions.npy").exists()]
        train_missing(ready, len(views), config, config.workers, lambda done, _: progress(len(plain) + done, total))
        return report.write(config, settings, [*plain, *views])


def _recorded(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the folder: those of its record, or where it was lost of its runs."""
    record = read_record(out / RECORD, settings=dict)
    if record is not None:
        return dict(record["settings"])
    return {name: value for run in settings_of_runs(out) for name, value in run.items() if name in settings} or settings


def _checked_place(config: ProbeConfig, task: Task, data: Data) -> str:
    """The place, after a few images have gone through all views there."""
    found = config.at or dict(task.facts)["place"]
    if found is None:
        raise ValueError("the place after the stem was not found in this network. Write --at NAME.")
    place = str(found)
    with torch.random.fork_rng(devices=[]):
        built = task.build(data)
    module, x = built.module, Feed(data, built.input, task.config, torch.device("cpu")).example(4)
    if list(tm.find_modules(module, place)) != [place]:
        raise ValueError(f"at needs the name of one module; got {place!r}. See `torchmoments places`.")
    features = Source(module, place)(x)
    check_all_goes_through(module, place, x)
    try:
        channel_dim = tm.layout_of(module, place).channel_axis(features)
    except ValueError as error:
        raise ValueError(
            f"a probe needs a place where the network tells which axis the channels are; got features "
            f"{list(features.shape)} at {place!r}. Choose another --at, see `torchmoments places`."
        ) from error
    for norm in config.norms:
        view(features, "moments", norm, channel_dim)
    return place
