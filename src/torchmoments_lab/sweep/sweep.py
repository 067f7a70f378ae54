"""Train a grid: one comparison for each combination of training settings, in one folder.

OUT/sweep.json                     the request, and the requests before it
OUT/train_size=100,width=8/        a comparison, see `comparison`; OUT/comparison/ where no axis is a training setting
OUT/report.html, report.md, summary.json, seeds.csv, sweep.png, sweep.svg     made of these, see `report`
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from torchmoments_lab.command import short
from torchmoments_lab.comparison import RECORD, joined, runs_of
from torchmoments_lab.data.split import Data
from torchmoments_lab.executors import executor_for
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.files import SWEEP, read_record, write_record
from torchmoments_lab.forecast import DRY, forecast
from torchmoments_lab.jobs import Watch, train_missing, unwatched
from torchmoments_lab.lengths import folder_of
from torchmoments_lab.lock import working_in
from torchmoments_lab.report.reading import read_comparison, read_comparison_record
from torchmoments_lab.report.runs import Comparison
from torchmoments_lab.report.summary import SweepSummary
from torchmoments_lab.requests import Compare
from torchmoments_lab.requests import Sweep as Request
from torchmoments_lab.resolve import Notice, resolve, silent
from torchmoments_lab.settings import ELSEWHERE, Execution, PlannedRuns
from torchmoments_lab.spec import labels_alone
from torchmoments_lab.sweep import report
from torchmoments_lab.sweep.grid import Axis, Cell, Values, cells, distinct, parse_grid, with_settings
from torchmoments_lab.sweep.summary import Outcome, Sweep
from torchmoments_lab.training.schedule import steps_an_epoch


def sweep(request: Request, watch: Watch = unwatched, notice: Notice = silent) -> SweepSummary | None:
    """Train what is missing in the folder, and report the grid.

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
    axes = parse_grid(request.grid)
    grid = cells(axes, request.method)
    if request.controls is None:
        request = replace(request, controls=_labels(request, axes, grid))
    remarks: list[str] = []
    parts = _comparisons(request, grid, remarks.append)
    # Most parts say the same.
    for sentence in dict.fromkeys(remarks):
        notice(sentence)
    dry_run = request.execution.dry_run
    with ExitStack() as held:
        held.enter_context(executor)
        held.enter_context(working_in(request.out, SWEEP, "sweep", lost=_PARTS, dry_run=dry_run))
        for part in parts:
            # Only checked: the lock of the sweep holds them.
            held.enter_context(working_in(part.request.out, RECORD, "compare", dry_run=True))
        seeds = request.runs.seeds
        records = [joined(part.request, part.experiment, seeds) for part in parts]
        runs = sorted(
            (run for part in parts for run in runs_of(part.request, part.experiment, seeds)), key=lambda run: run.seed
        )
        missing = [run for run in runs if not run.is_complete()]
        notice(forecast(runs, missing, executor, "combination"))
        if dry_run:
            notice(DRY)
            return None
        write_record(request.out / SWEEP, _record(request))
        for part, record in zip(parts, records, strict=True):
            part.request.out.mkdir(exist_ok=True)
            write_record(part.request.out / RECORD, record)
        train_missing(missing, len(runs), executor, watch)
        return report.write(request.out, _read(request, axes, grid, parts))


def _labels(request: Request, axes: Sequence[Axis], grid: Sequence[Cell]) -> tuple[str, ...]:
    """The labels alone of each MoEx, with the options that are no axis."""
    methods = next((axis.values for axis in axes if axis.kind == "method"), (request.method,))
    known = {request.reference, *(cell.spec for cell in grid)}
    found = dict.fromkeys(labels_alone(method) for method in methods)
    return tuple(labels for labels in found if labels is not None and labels not in known)


# The folders of comparisons in the folder of a sweep.
_PARTS = ("comparison/comparison.json", "*=*/comparison.json")


@dataclass(frozen=True)
class _Part:
    """One combination of training settings, and the comparison of all methods under it."""

    settings: Values
    request: Compare
    experiment: Experiment


def _comparisons(request: Request, grid: list[Cell], notice: Notice) -> list[_Part]:
    parts: list[_Part] = []
    loaded: dict[str, Data] = {}
    for settings in (cell.settings for cell in grid):
        if settings in [part.settings for part in parts]:
            continue
        specs = [
            request.reference,
            *(request.controls or ()),
            *(cell.spec for cell in grid if cell.settings == settings),
        ]
        name = ",".join(f"{key}={value}" for key, value in settings.items()) or "comparison"
        out = request.out / folder_of("grid", name)
        # An earlier sweep may have written the same training as another spec.
        first = distinct([*(read_comparison_record(out) or {"methods": []})["methods"], *specs])
        here = with_settings(request, settings)
        methods = tuple(dict.fromkeys(first[spec] for spec in specs))
        for spec in methods:
            folder_of("method", spec)
        part = Compare(
            here.data,
            here.model,
            here.preprocessing,
            here.training,
            here.judging,
            methods,
            PlannedRuns(here.runs.seeds),
            here.parallel,
            here.execution,
            out=out,
        )
        experiment = resolve(part, part.judging, methods, notice=notice, loaded=loaded.get(part.data.data)).experiment
        loaded[part.data.data] = experiment.data
        if request.steps is not None:
            epochs = max(1, round(request.steps / steps_an_epoch(experiment.train_size, part.training.batch_size)))
            training = replace(experiment.training, epochs=epochs)
            training.check()
            experiment = replace(experiment.with_facts(epochs=epochs), training=training)
        parts.append(_Part(settings, part, experiment))
    return parts


def _judging(request: Request, part: _Part, spec: str) -> str:
    """The command that judges one combination on the test images."""
    epochs = part.request.training.epochs if request.steps is None else part.experiment.epochs
    out = request.out.with_name(f"{request.out.name}-test")
    # What the reference's own best settings are for is a comparison with them.
    specs = (request.reference, spec) if spec != request.reference else Compare().methods
    asked = replace(part.request, execution=Execution())
    return short(asked.with_values(methods=specs, evaluate="test", epochs=epochs, out=out))


def _record(request: Request) -> dict[str, Any]:
    here = (*request.parallel.values(), *request.execution.values(), "out", *ELSEWHERE)
    asked = {name: value for name, value in request.values().items() if name not in here}
    asked = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    before = (read_record(request.out / SWEEP, requests=list) or {"requests": []})["requests"]
    return {"requests": [*before, *([] if asked in before else [asked])]}


def _read(request: Request, axes: list[Axis], grid: list[Cell], parts: list[_Part]) -> Sweep:
    references, outcomes, comparisons = [], [], []
    for part in parts:
        comparison = read_comparison(part.request.out, metrics=())
        here = [cell for cell in grid if cell.settings == part.settings]
        first = distinct(
            [*comparison.runs, request.reference, *(request.controls or ()), *(cell.spec for cell in here)]
        )

        def outcome(
            spec: str,
            cell: Cell | None = None,
            part: _Part = part,
            first: dict[str, str] = first,
            read: Comparison = comparison,
        ) -> Outcome:
            of_spec = {seed: run for seed, run in read.runs[first[spec]].items() if seed < request.runs.seeds}
            values, looks = None if cell is None else cell.values, read.looks(first[spec], read.reference)
            return Outcome(spec, part.settings, values, of_spec, looks, _judging(request, part, first[spec]))

        references.append(outcome(request.reference))
        outcomes += [outcome(spec) for spec in request.controls or ()]
        outcomes += [outcome(cell.spec, cell) for cell in here]
        comparisons.append(comparison)
    order = [cell.values for cell in grid]
    outcomes.sort(key=lambda outcome: -1 if outcome.values is None else order.index(dict(outcome.values)))
    return Sweep({axis.name: axis.values for axis in axes}, request.reference, references, outcomes, comparisons)
