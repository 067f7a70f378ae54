"""Train a grid: one comparison for each combination of training settings, in one folder.

OUT/sweep.json                     the request, and the requests before it
OUT/train_size=100,width=8/        a comparison, see `comparison`; OUT/comparison/ where no axis is a training setting
OUT/summary.json, table.md, cells.csv, seeds.csv, sweep.png, sweep.svg     made of these, see `report`
"""

from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote

from torchmoments_lab.command import short
from torchmoments_lab.comparison import RECORD, joined, runs_of
from torchmoments_lab.config import CompareConfig, TrainConfig
from torchmoments_lab.data.split import Data
from torchmoments_lab.files import read_record, write_record
from torchmoments_lab.lock import working_in
from torchmoments_lab.pool import Progress, train_missing
from torchmoments_lab.prepare import Notice, prepare, silent
from torchmoments_lab.report.reading import Runs, read_comparison, read_comparison_record
from torchmoments_lab.sweep import report
from torchmoments_lab.sweep.config import SweepConfig
from torchmoments_lab.sweep.grid import Axis, Cell, Values, cells, distinct, parse_grid, with_settings
from torchmoments_lab.sweep.summary import Outcome, Sweep
from torchmoments_lab.training.task import Task
from torchmoments_lab.training.train import steps_an_epoch


def sweep(
    config: SweepConfig, progress: Progress = lambda done, total: None, notice: Notice = silent
) -> dict[str, Any]:
    """Train what is missing in the folder, and report the grid.

    Args:
        config: what to train, and where to keep it.
        progress: called with the number of runs done, complete ones of earlier times included, and their total.
        notice: is told what was decided that the settings do not say.

    Returns:
        What summary.json holds, see `summary.summarize` and `report.write`.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
    """
    config.check()
    axes = parse_grid(config.grid)
    grid = cells(axes, config.method)
    said: list[str] = []
    parts = _comparisons(config, grid, said.append)
    # Most parts say the same.
    for sentence in dict.fromkeys(said):
        notice(sentence)
    with ExitStack() as held:
        held.enter_context(working_in(config.out, "sweep.json", "sweep", lost=_PARTS))
        records = [joined(part.config, part.task) for part in parts]
        runs = sorted((run for part in parts for run in runs_of(part.config, part.task)), key=lambda run: run.seed)
        missing = [run for run in runs if not run.is_complete()]
        write_record(config.out / "sweep.json", _request(config))
        for part, record in zip(parts, records, strict=True):
            held.enter_context(working_in(part.config.out, RECORD, "compare"))
            write_record(part.config.out / RECORD, record)
        train_missing(missing, len(runs), config, config.workers, progress)
        return report.write(config.out, _read(config, axes, grid, parts))


# The folders of comparisons in the folder of a sweep.
_PARTS = ("comparison/comparison.json", "*=*/comparison.json")


@dataclass(frozen=True)
class _Part:
    """One combination of training settings, and the comparison of all methods under it."""

    settings: Values
    config: CompareConfig
    task: Task


def _comparisons(config: SweepConfig, grid: list[Cell], notice: Notice) -> list[_Part]:
    parts: list[_Part] = []
    loaded: dict[str, Data] = {}
    for settings in (cell.settings for cell in grid):
        if settings in [part.settings for part in parts]:
            continue
        words = [config.reference, *config.controls, *(cell.word for cell in grid if cell.settings == settings)]
        name = ",".join(f"{key}={value}" for key, value in settings.items()) or "comparison"
        out = config.out / quote(name, safe="=,")
        # An earlier sweep may have called the same training by another word.
        first = distinct([*(read_comparison_record(out) or {"methods": []})["methods"], *words])
        training = with_settings(config, settings)
        part = CompareConfig(
            **{field.name: getattr(training, field.name) for field in fields(TrainConfig)},
            methods=tuple(dict.fromkeys(first[word] for word in words)),
            seeds=config.seeds,
            workers=config.workers,
            out=out,
        )
        task = prepare(part, part.methods, notice=notice, data=loaded.get(training.data))
        loaded[training.data] = task.load()
        if config.steps is not None:
            epochs = max(1, round(config.steps / steps_an_epoch(task.config.train_size or 0, task.config.batch_size)))
            task = replace(task, config=replace(task.config, epochs=epochs))
            task.config.check()
        parts.append(_Part(settings, part, task))
    return parts


def _judging(config: SweepConfig, part: _Part, word: str) -> str:
    """The command that judges one combination on the test images."""
    epochs = part.config.epochs if config.steps is None else part.task.config.epochs
    out = config.out.with_name(f"{config.out.name}-test")
    words = tuple(dict.fromkeys((config.reference, word)))
    return short(replace(part.config, methods=words, evaluate="test", epochs=epochs, out=out))


def _request(config: SweepConfig) -> dict[str, Any]:
    names = ("method", "grid", "reference", "controls", "steps", "seeds")
    request = config.settings() | {name: getattr(config, name) for name in names}
    request = {name: list(value) if isinstance(value, tuple) else value for name, value in request.items()}
    before = (read_record(config.out / "sweep.json", requests=list) or {"requests": []})["requests"]
    return {"requests": [*before, *([] if request in before else [request])]}


def _read(config: SweepConfig, axes: list[Axis], grid: list[Cell], parts: list[_Part]) -> Sweep:
    references, outcomes, comparisons = [], [], []
    for part in parts:
        comparison = read_comparison(part.config.out)
        here = [cell for cell in grid if cell.settings == part.settings]
        first = distinct([*comparison.methods, config.reference, *config.controls, *(cell.word for cell in here)])

        def outcome(
            word: str,
            cell: Cell | None = None,
            part: _Part = part,
            first: dict[str, str] = first,
            runs: Runs = comparison.runs,
        ) -> Outcome:
            of_word = {seed: run for seed, run in runs[first[word]].items() if seed < config.seeds}
            errors = {seed: run["error"] for seed, run in of_word.items() if "failed" not in run}
            return Outcome(word, part.settings, cell, errors, _judging(config, part, first[word]))

        references.append(outcome(config.reference))
        outcomes += [outcome(word) for word in config.controls]
        outcomes += [outcome(cell.word, cell) for cell in here]
        comparisons.append(comparison)
    outcomes.sort(key=lambda outcome: -1 if outcome.cell is None else grid.index(outcome.cell))
    return Sweep(axes, config.reference, references, outcomes, comparisons)
