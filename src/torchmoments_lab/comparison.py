"""Train with and without a method, paired by seed, in one folder that can be stopped and extended.

OUT/comparison.json     the settings that all runs share; methods and seeds, when they were added, and planned looks
OUT/runs/SPEC/seed3     see `runs`
OUT/images.json, test.jpg, training.jpg     see `gallery`
OUT/report.html, report.md, summary.json, differences.png, .svg, curves.png, .svg     made of these, see `report`
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from torchmoments_lab.command import command
from torchmoments_lab.executors import executor_for
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import read_record, write_record
from torchmoments_lab.forecast import DRY, forecast
from torchmoments_lab.gallery import keep_images
from torchmoments_lab.jobs import Executor, Watch, train_missing, unwatched
from torchmoments_lab.lock import RUNS, refuse_other_settings, working_in
from torchmoments_lab.methods import parse_methods
from torchmoments_lab.process import ending_in_order
from torchmoments_lab.report import report
from torchmoments_lab.report.images import read_images
from torchmoments_lab.report.reading import read_comparison_record
from torchmoments_lab.report.runs import Plan
from torchmoments_lab.report.summary import Summary
from torchmoments_lab.requests import Compare
from torchmoments_lab.resolve import Notice, Objects, resolve, silent
from torchmoments_lab.runs import Run

RECORD = "comparison.json"


def compare(
    request: Compare,
    watch: Watch = unwatched,
    notice: Notice = silent,
    *,
    objects: Objects | None = None,
) -> Summary | None:
    """Train what is missing in the folder, and report everything in it.

    Args:
        request: what to train, and the folder.
        watch: called with the progress of the runs.
        notice: called with what was decided that the request does not say, and with what is going to be trained.
        objects: in place of the names in the request, see `torchmoments_lab.compare`.

    Returns:
        What summary.json holds. Runs that failed are in its `failed`. None after a dry run.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    request.check()
    executor = executor_for(request.parallel, request.training)
    experiment = resolve(request, request.judging, request.methods, notice=notice, objects=objects).experiment
    with executor, working_in(request.out, RECORD, "compare", dry_run=request.execution.dry_run):
        *_, last = looks = request.runs.plan()
        before = read_comparison_record(request.out) or {"history": []}
        reached = _asked_of_all(before["history"], request.methods)
        first, *later = [look for look in looks if look >= reached] or [last]
        look = _look(request, experiment, first)
        more = f" More seeds follow, up to {last}, unless these decide it." if later else ""
        notice(forecast(look.runs, look.missing, executor, "method") + more)
        if request.execution.dry_run:
            notice(DRY)
            return None
        _notice_runs_without_weights(runs_of(request, experiment, last), request.out, notice)
        summary = _train(look, request, experiment, executor, watch)
        for seeds in later:
            if not any(summary.is_open(method) for method in summary.paired if method in request.methods):
                break
            notice(f"Not decided after {first} seeds; goes on to {seeds}.")
            summary, first = _train(_look(request, experiment, seeds), request, experiment, executor, watch), seeds
        return summary


class _Look(NamedTuple):
    """So many seeds: what the folder's record becomes, the runs, and those that are missing."""

    record: dict[str, Any]
    runs: list[Run]
    missing: list[Run]


def _look(request: Compare, experiment: Experiment, seeds: int) -> _Look:
    record, runs = joined(request, experiment, seeds), runs_of(request, experiment, seeds)
    # Damaged images are refused before anything is trained, too.
    read_images(request.out)
    return _Look(record, runs, [run for run in runs if not run.is_complete()])


def _train(look: _Look, request: Compare, experiment: Experiment, executor: Executor, watch: Watch) -> Summary:
    """Train what is missing, and report everything in the folder."""
    write_record(request.out / RECORD, look.record)
    keep_images(request.out, experiment)
    train_missing(look.missing, len(look.runs), executor, watch)
    return report.write(request.out)


def compare_objects(make_model: Callable[..., Any], train: Any, test: Any, **settings: Any) -> Summary:
    """`torchmoments_lab.compare`: the same, with objects in place of names."""
    if not callable(make_model):
        raise ValueError(
            f"make_model needs a function that gives a new model for each run; got {type(make_model).__name__}. "
            "Write compare(lambda: Net(), ...)."
        )
    for name in ("data", "data_dir", "model", "width", "weights", "pretrained"):
        if name in settings:
            raise ValueError(f"compare has no setting {name!r} here: the model and the data are objects. Leave it out.")
    if settings.get("dry_run"):
        raise ValueError("compare has no setting 'dry_run' here: it returns a summary. Leave it out.")
    name = getattr(make_model, "__qualname__", type(make_model).__name__)
    request = Compare().with_values(data=f"objects:{type(train).__name__}", model=f"objects:{name}", **settings)
    # There is no terminal to write to.
    notice = logging.getLogger("torchmoments_lab").warning
    with ending_in_order():
        summary = compare(request, notice=notice, objects=Objects(make_model, train, test))
    assert summary is not None
    return summary


def runs_of(request: Compare, experiment: Experiment, seeds: int) -> list[Run]:
    """The runs of so many seeds, seed by seed."""
    return [
        Run.of_many(
            request.out,
            experiment,
            method,
            seed,
            keeps_weights=request.keep_weights,
            tensorboard=request.execution.tensorboard,
        )
        for seed in range(seeds)
        for method in experiment.methods
    ]


def _notice_runs_without_weights(runs: Sequence[Run], out: Path, notice: Notice) -> None:
    number = sum(run.lacks_weights() for run in runs)
    if number:
        notice(
            f"Complete runs without weights: {number:,}. They are not trained again; for their weights delete their "
            f"folders in '{out / 'runs'}', or write another --out."
        )


def joined(request: Compare, experiment: Experiment, seeds: int) -> dict[str, Any]:
    """What the folder's record becomes when this request joins it with so many seeds.

    Raises:
        ValueError: the folder holds runs with other settings or another plan, or one of the methods under another spec.
    """
    settings, looks = dict(experiment.shared), request.runs.plan()
    plan = Plan(looks if len(looks) > 1 else (), request.runs.stop_at)
    before = read_comparison_record(request.out) or _record_of_runs(request, plan)
    before = before or {"settings": settings, "methods": [], "history": [], **plan.record()}
    refuse_other_settings(request.out, before["settings"], settings)
    if Plan.read(before) != plan:
        raise ValueError(
            f"'{request.out}' was begun with another plan: {Plan.read(before)}; got {plan}. Keep to the first, or "
            "write another --out."
        )
    added = [spec for spec in request.methods if spec not in before["methods"]]
    parse_methods(before["methods"] + added)
    if seeds <= _asked_of_all(before["history"], request.methods):
        return before
    *earlier_events, last = before["history"] or [{}]
    # The looks of a plan are one request.
    goes_on = bool(plan.looks) and last.get("methods") == list(request.methods) and last["seeds"] < seeds
    event = {
        "time": last["time"] if goes_on else _now(),
        "methods": list(request.methods),
        "seeds": seeds,
        # From Python there is no command.
        "command": None if experiment.network.make_model is not None else command(request, settings),
    }
    return {
        "settings": settings,
        "methods": before["methods"] + added,
        "history": [*(earlier_events if goes_on else before["history"]), event],
        **plan.record(),
    }


def settings_of_runs(out: Path) -> Iterator[dict[str, Any]]:
    """What the config.json of each run in a folder holds."""
    for path in sorted(out.glob(RUNS)):
        config = read_record(path, method=str, seed=int)
        if config is not None:
            yield config


def _asked_of_all(history: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> int:
    """The number of seeds that all of these methods were asked for already."""
    asked = [[event["seeds"] for event in history if method in event["methods"]] for method in methods]
    return min(max(earlier, default=0) for earlier in asked)


def _record_of_runs(request: Compare, plan: Plan) -> dict[str, Any] | None:
    """The record of a folder that lost it, as far as its runs tell; None without runs.

    The reference is the first method of the request that the folder has; the plan is that of the request.
    """
    runs = list(settings_of_runs(request.out))
    if not runs:
        return None
    asked = {spec: number for number, spec in enumerate(request.methods)}
    methods = sorted({run["method"] for run in runs}, key=lambda spec: (asked.get(spec, len(asked)), spec))
    seeds = 1 + max(run["seed"] for run in runs)
    settings = {name: value for name, value in runs[0].items() if name not in ("method", "seed")}
    if plan.looks:
        # Runs of a look that was not complete belong to the one before.
        seeds = max((look for look in plan.looks if look <= seeds), default=plan.looks[0])
    history = [{"time": _now(), "methods": methods, "seeds": seeds, "command": None}]
    return {"settings": settings, "methods": methods, "history": history, **plan.record()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
