"""Each method at its own best settings: tuned with the same budget on validation images, then judged once.

    python -m results.tuned run digits [--workers 2] [--device cpu]   what is missing, into runs/studies; then the table
    python -m results.tuned table digits                              results/tuned-digits from runs/studies

The cell with the lowest mean validation error is chosen for each method. It is judged on the test images, with fresh
seeds. Where epochs are tuned too, each method is judged a second time within the same time: none with the middle number
of epochs, the others with as many as its time allows, learning rate and weight decay tuned at that number of epochs.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from results.evidence import wrong
from results.studies import keep
from torchmoments_lab.comparison import compare
from torchmoments_lab.files import as_csv, write_text
from torchmoments_lab.report import wording
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.report.render import table as in_markdown
from torchmoments_lab.requests import Compare, Sweep
from torchmoments_lab.statistics.several import differences
from torchmoments_lab.sweep.sweep import sweep

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("none", "labels", "moex")
PAIRS = (("labels", "none"), ("moex", "none"), ("moex", "labels"))
FRESH = 1000
# The parts of what is judged: each method with the settings chosen for it, in the folder PART-METHOD.
BEST, SAME_TIME = "best", "same-time"

Cell = Mapping[str, float]
# {method: {cell's key: a number}}
Numbers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Study:
    """What is trained, the values that are tried, and the seeds of the tuning and of the judgement."""

    question: str
    about: str
    settings: Mapping[str, Any]
    grid: Mapping[str, Sequence[float]]
    tuning: int
    judged: int


STUDIES = {
    "digits": Study(
        "Each method at its own best settings: digits",
        "200 training images. Learning rate, weight decay and the number of epochs were tuned for each method, 27 "
        "combinations with 6 seeds each on 100 validation images.",
        {"data": "digits"},
        {"lr": (0.05, 0.1, 0.2), "weight_decay": (5e-4, 2e-3, 8e-3), "epochs": (40, 80, 160)},
        tuning=6,
        judged=30,
    ),
    "fashion": Study(
        "Each method at its own weight decay, with augmentation: Fashion-MNIST",
        "400 training images, shifted and mirrored anew in each epoch. Weight decay was tuned for each method, four "
        "values with 4 seeds each on 12,000 validation images.",
        {
            "data": "fashion-mnist",
            "data_dir": Path("/usr/share/datasets/fashion-mnist"),
            "train_size": 400,
            "epochs": 40,
            "augment": True,
        },
        {"weight_decay": (1e-4, 5e-4, 2e-3, 8e-3)},
        tuning=4,
        judged=20,
    ),
}


def cells(study: Study) -> list[Cell]:
    return [dict(zip(study.grid, values, strict=True)) for values in product(*study.grid.values())]


def run(name: str, study: Study, where: Mapping[str, Any]) -> None:
    tuning, judged = _folders(name)
    grid = tuple(f"{axis}={'/'.join(map(str, values))}" for axis, values in study.grid.items())
    sweep(Sweep().with_values(**study.settings, **where, grid=grid, seeds=study.tuning, out=tuning), notice=print)
    for part, chosen in choices(study, *tuned(study, tuning)).items():
        for method, cell in chosen.items():
            request = Compare().with_values(
                **{**study.settings, **where, **cell, "first_seed": FRESH, "seeds": study.judged},
                methods=(method,),
                out=judged / f"{part}-{method}",
            )
            print(part, method, dict(cell), flush=True)
            compare(request, notice=print)


def choices(study: Study, errors: Numbers, seconds: Numbers) -> dict[str, dict[str, Cell]]:
    """{part: {method: what was chosen}}, by what `tuned` found."""
    chosen = {BEST: {method: _best(errors[method], cells(study)) for method in METHODS}}
    if "epochs" in study.grid:
        middle = sorted(study.grid["epochs"])[1]
        of_middle = [cell for cell in cells(study) if cell["epochs"] == middle]
        longer = {method: median(seconds[method][_key(cell)] for cell in of_middle) for method in METHODS}
        chosen[SAME_TIME] = {
            method: {**_best(errors[method], of_middle), "epochs": int(middle * longer["none"] / longer[method])}
            for method in METHODS
        }
        chosen[SAME_TIME]["none"] = {**chosen[SAME_TIME]["none"], "epochs": middle}
    return chosen


def tuned(study: Study, tuning: Path) -> tuple[Numbers, Numbers]:
    """Mean validation errors, and the median seconds of a run."""
    errors: Numbers = {method: {} for method in METHODS}
    seconds: Numbers = {method: {} for method in METHODS}
    for cell in cells(study):
        runs = read_comparison(tuning / _key(cell)).runs
        for method in METHODS:
            of_cell = runs[method].values()
            errors[method][_key(cell)] = float(np.mean([one.value("error") for one in of_cell]))
            seconds[method][_key(cell)] = median(one.seconds for one in of_cell)
    return errors, seconds


def _best(errors: Mapping[str, float], among: Sequence[Cell]) -> Cell:
    return min(among, key=lambda cell: errors[_key(cell)])


def _key(cell: Cell) -> str:
    return ",".join(f"{name}={value}" for name, value in cell.items())


def table(name: str, study: Study) -> None:
    """Keep what was measured, and write the tables of the tuning and of the judgement."""
    tuning, judged = _folders(name)
    out = ROOT / "results" / f"tuned-{name}"
    out.mkdir(exist_ok=True)
    errors, seconds = tuned(study, tuning)
    measured = (("error", errors), ("seconds", seconds))
    rows = [
        {**cell, **{f"{method} {what}": of[method][_key(cell)] for method in METHODS for what, of in measured}}
        for cell in cells(study)
    ]
    write_text(out / "validation.csv", as_csv(rows))
    chosen = choices(study, errors, seconds)
    write_text(out / "chosen.json", json.dumps(chosen, indent=1) + "\n")
    keep(judged, out, ())
    environment = next(iter(judged.glob("*/runs/*/seed0/env.json")))
    shutil.copyfile(environment, out / "env.json")
    write_text(out / "section.md", "\n\n".join(_section(name, study, chosen)) + "\n")


def _section(name: str, study: Study, chosen: Mapping[str, Mapping[str, Cell]]) -> Iterator[str]:
    """What docs/results-in-full.md has of it."""
    folder = f"tuned-{name}"
    environment = json.loads((ROOT / "results" / folder / "env.json").read_text())
    yield f"## {study.question}"
    yield f"{study.about} What is best there is judged here, with {study.judged} fresh seeds."
    yield judgement(folder, chosen)
    yield f"```\npython -m results.tuned run {name}\n```"
    files = ", ".join(
        f"[{file}](../results/{folder}/{file})" for file in ("validation.csv", "chosen.json", "predictions.npz")
    )
    made_with = f"torch {environment['torch']}, Python {environment['python']}, {environment['cpu']}, 1 thread a run"
    yield f"{made_with}. {files}."


def judgement(study: str, chosen: Mapping[str, Mapping[str, Cell]]) -> str:
    """Test errors of what was chosen, and their differences, all judged together; in Markdown."""
    scores = {(part, method): wrong(study, method, f"{part}-{method}") for part, of in chosen.items() for method in of}
    pairs = [(part, *pair) for part in chosen for pair in PAIRS]
    paired = [
        np.array([scores[part, first][seed] - scores[part, second][seed] for seed in sorted(scores[part, first])])
        for part, first, second in pairs
    ]
    found = dict(zip(pairs, differences(paired), strict=True))
    rows = []
    for part, of_part in chosen.items():
        for method, cell in of_part.items():
            minus = (found.get((part, method, other)) for other in ("none", "labels"))
            rows.append(
                [
                    _PARTS[part],
                    method,
                    *(f"{value:g}" for value in cell.values()),
                    f"{np.mean(list(scores[part, method].values())):.2f}",
                    *("" if of is None else wording.plus_minus(wording.adjusted(of), "+") for of in minus),
                ]
            )
    axes = list(next(iter(chosen[BEST].values())))
    caption = "Test error, percent; differences in points, ± 95% CI of all of them together"
    heading = ["Tuned", "Method", *axes, "Error", "minus none", "minus labels"]
    return in_markdown(Table(caption, heading, rows))


_PARTS = {BEST: "with its own best settings", SAME_TIME: "in the same time"}


def _folders(name: str) -> tuple[Path, Path]:
    """Of the tuning, and of what is judged."""
    runs = ROOT / "runs" / "studies" / f"tuned-{name}"
    return runs / "validation", runs / "judged"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    study = STUDIES[asked.study]
    if asked.command == "run":
        run(asked.study, study, {"workers": asked.workers, "device": asked.device})
    table(asked.study, study)


if __name__ == "__main__":
    main()
