"""Train the runs of a probe, and report them.

OUT/probe.json          the settings that all runs share, and the numbers of seeds that were asked for
OUT/runs/VIEW/seed3     see `runs`
OUT/report.html, report.md, summary.json, seeds.csv, probe.png, probe.svg     made of these, see `report`
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import torchmoments as tm
from torchmoments_lab.comparison import settings_of_runs
from torchmoments_lab.executors import executor_for
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import damaged, read_record, write_record
from torchmoments_lab.forecast import DRY, forecast
from torchmoments_lab.jobs import Watch, train_missing, unwatched
from torchmoments_lab.lock import refuse_other_settings, working_in
from torchmoments_lab.methods import parse_norm
from torchmoments_lab.models.padding import padding
from torchmoments_lab.probe import report
from torchmoments_lab.probe.runs import ViewRun, view_methods
from torchmoments_lab.probe.views import Source, View, check_all_goes_through
from torchmoments_lab.report.reading import check_settings
from torchmoments_lab.report.summary import ProbeSummary
from torchmoments_lab.requests import Probe
from torchmoments_lab.resolve import Notice, Resolved, resolve, silent
from torchmoments_lab.runs import Run
from torchmoments_lab.settings import Judging
from torchmoments_lab.statistics.values import LEAST_SEEDS

RECORD = "probe.json"
# Runs that tell whether its settings are theirs.
_ENOUGH = 4


def probe(request: Probe, watch: Watch = unwatched, notice: Notice = silent) -> ProbeSummary | None:
    """Train what is missing in the folder, and report the norms that are asked for.

    Args:
        request: what to train, and the folder.
        watch: called with the progress of the runs.
        notice: called with what was decided that the request does not say, and with what is going to be trained.

    Returns:
        What summary.json holds; None after a dry run.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    request.check()
    executor = executor_for(request.parallel, request.training)
    remarks: list[str] = []
    judging = Judging(evaluate=request.evaluate)
    resolved = resolve(request, judging, ["none"], notice=remarks.append)
    place = _checked_place(request, resolved)
    for sentence in remarks:
        notice(sentence)
    experiment = resolved.experiment.with_facts(at=place, quick=request.quick, trained=request.trained)
    settings = dict(experiment.shared)
    with executor, working_in(request.out, RECORD, "probe", dry_run=request.execution.dry_run):
        refuse_other_settings(request.out, _recorded(request.out, settings), settings)
        plain, views = _runs(request, experiment, place)
        missing = [run for run in plain if not run.is_complete()]
        missing_views = [run for run in views if not run.is_complete()]
        asked = sorted({*_asked(request.out), request.runs.seeds})
        notice(forecast([*plain, *views], [*missing, *missing_views], executor, "training"))
        if request.execution.dry_run:
            notice(DRY)
            return None
        write_record(request.out / RECORD, {"settings": settings, "seeds": asked})
        total = len(plain) + len(views)
        train_missing(missing, total, executor, watch, later=len(missing_views))
        trained = {run.seed for run in plain if run.is_complete()}
        ready = [run for run in missing_views if run.plain is None or run.seed in trained]
        train_missing(ready, total, executor, watch)
        seeds = request.runs.seeds
        # With fewer there was no interval to look at.
        grown = any(LEAST_SEEDS <= earlier < seeds for earlier in asked)
        return report.write(request.out, settings, request.norms, seeds, grown, _most_frequent(experiment, seeds))


def _most_frequent(experiment: Experiment, seeds: int) -> dict[int, int]:
    """{seed: the most frequent class of its training images}."""
    labels, size = experiment.data.train.labels.numpy(), experiment.train_size
    chosen = {seed: experiment.data.subset(size, experiment.random_seed(seed)).numpy() for seed in range(seeds)}
    return {seed: int(np.bincount(labels[index]).argmax()) for seed, index in chosen.items()}


def _runs(request: Probe, experiment: Experiment, place: str) -> tuple[list[Run], list[ViewRun]]:
    """The plain runs, if the features are those of trained networks, and the views."""
    seeds, tensorboard = range(request.runs.seeds), request.execution.tensorboard
    method = experiment.methods[0]
    plain: list[Run] = []
    if request.trained:
        plain = [
            Run.of_many(request.out, experiment, method, seed, tensorboard=tensorboard, keeps_weights=True)
            for seed in seeds
        ]
    views = [
        ViewRun.of_many(
            request.out,
            experiment,
            view,
            seed,
            tensorboard=tensorboard,
            place=place,
            plain=plain[seed] if plain else None,
            quick=request.quick,
        )
        for seed in seeds
        for view in view_methods(request.norms)
    ]
    return plain, views


def _recorded(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the folder: those of its record, or if it was lost those of its runs."""
    record = read_record(out / RECORD, settings=dict)
    if record is not None:
        check_settings(out / RECORD, record["settings"], list(islice(settings_of_runs(out), _ENOUGH)))
        return dict(record["settings"])
    return {name: value for run in settings_of_runs(out) for name, value in run.items() if name in settings} or settings


def _asked(out: Path) -> list[int]:
    """The numbers of seeds that were asked for before; without a record of them, that of which there are runs.

    Raises:
        ValueError: the record is damaged.
    """
    recorded = (read_record(out / RECORD) or {}).get("seeds")
    if recorded is None:
        return [1 + max(run["seed"] for run in runs)] if (runs := list(settings_of_runs(out))) else []
    if type(recorded) is list and all(type(seeds) is int for seeds in recorded):
        return recorded
    raise damaged(out / RECORD, "its seeds are no numbers")


def _checked_place(request: Probe, resolved: Resolved) -> str:
    """The place, after a few images have gone through all views there."""
    place = request.at or resolved.experiment.place
    if place is None:
        raise ValueError("the place after the stem was not found in this network. Write --at NAME.")
    module, images = resolved.trial.built.module, resolved.trial.images
    if list(tm.find_modules(module, place)) != [place]:
        raise ValueError(f"at needs the name of one module; got {place!r}. See `torchmoments places`.")
    if padding(module, images) is not None:
        raise ValueError(
            "a probe needs a network without padding, as moments here are over all positions; this one has a "
            "padding_mask. Choose inputs of one length."
        )
    features = Source(module, place)(images)
    check_all_goes_through(module, place, images)
    try:
        channel_dim = tm.layout_of(module, place).channel_axis(features)
    except ValueError as error:
        raise ValueError(
            f"a probe needs a place where the network tells which axis the channels are; got features "
            f"{list(features.shape)} at {place!r}. Choose another --at, see `torchmoments places`."
        ) from error
    for norm in request.norms:
        View("moments", parse_norm(norm), channel_dim)(features)
    return place
