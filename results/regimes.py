"""The study behind the defaults of the training: validation errors on three data sets for each of two starts.

    python results/regimes.py run          what is missing, into runs/regimes; the table too
    python results/regimes.py table        results/regimes/ from runs/regimes

Each row changes one setting of the default. Only validation images are looked at; the test images are left for the
comparisons. `results/pictures.py` and Debian's dataset-fashion-mnist bring the pictures.
"""

import sys
from pathlib import Path
from typing import Any

from torchmoments_lab.comparison import compare
from torchmoments_lab.files import as_csv, write_text
from torchmoments_lab.metrics import METRICS
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.requests import Compare

ROOT = Path(__file__).resolve().parent.parent
RUNS, RESULTS = ROOT / "runs" / "regimes", ROOT / "results" / "regimes"
FASHION = {"data": "fashion-mnist", "data_dir": Path("/usr/share/datasets/fashion-mnist")}
ELPV = {"data": "folder:runs/data/elpv", "augment": True}
LITE0 = {"model": "timm/tf_efficientnet_lite0", "weights": "runs/data/lite0.safetensors", "image_size": 64}

# {start: {data set: its settings}}
DATA: dict[str, dict[str, dict[str, Any]]] = {
    "scratch": {
        "digits": {"data": "digits"},
        "fashion": {**FASHION, "train_size": 400},
        "elpv": {**ELPV, "train_size": 400, "image_size": 32},
    },
    "fine-tuning": {
        "fashion": {**FASHION, **LITE0, "train_size": 200},
        "elpv": {**ELPV, **LITE0, "train_size": 200},
        "emoji": {"data": "folder:runs/data/emoji", "augment": True, **LITE0, "train_size": 200},
    },
}
# {start: the settings of each row}, the first is what the others change. Where a data set has no such setting, the row
# is left out there.
ROWS: dict[str, list[dict[str, Any]]] = {
    "fine-tuning": [
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.01},
        {"optimizer": "adamw", "lr": 0.0003, "head_lr": 0.003},
        {"optimizer": "adamw", "lr": 0.003, "head_lr": 0.03},
        {"optimizer": "sgd", "lr": 0.01, "head_lr": 0.1},
        {"optimizer": "sgd", "lr": 0.003, "head_lr": 0.03},
        {"optimizer": "sgd", "lr": 0.03, "head_lr": 0.3},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.01, "min_steps": 100},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001, "min_steps": 600},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001, "crop_scale": 0.08},
        {"optimizer": "adamw", "head_lr": 0.01, "freeze_body": True},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001, "ema": 0.99},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001, "crop_scale": 0.7},
        {"optimizer": "adamw", "lr": 0.001, "head_lr": 0.001, "test_crop": 0.875},
    ],
    "scratch": [
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.03},
        {"optimizer": "sgd", "lr": 0.3},
        {"optimizer": "adamw", "lr": 0.001},
        {"optimizer": "adamw", "lr": 0.003},
        {"optimizer": "adamw", "lr": 0.01},
        {"optimizer": "sgd", "lr": 0.1, "warmup_epochs": 5},
    ],
}
# Of the two rows of fine-tuning that are nearest to each other, and of the others.
MOST_SEEDS, SEEDS = 5, 2


def named(row: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in row.items())


def cells() -> list[tuple[str, str, dict[str, Any], Path]]:
    """(start, data set, row, folder), row by row."""
    return [
        (start, data, row, RUNS / start / data / named(row))
        for start, rows in ROWS.items()
        for row in rows
        for data, settings in DATA[start].items()
        if settings.get("augment") or not {"crop_scale", "test_crop"} & row.keys()
    ]


def run(workers: int) -> None:
    for start, data, row, out in cells():
        settings = {**DATA[start][data], **row}
        epochs = {"epochs": 1} if "min_steps" in row else {}
        seeds = MOST_SEEDS if row in ROWS["fine-tuning"][:2] else SEEDS
        request = Compare().with_values(
            **settings, **epochs, methods=("none",), evaluate="validation", seeds=seeds, workers=workers, out=out
        )
        compare(request)
        (runs,) = read_comparison(out).runs.values()
        print(start, data, named(row), *(f"{run.value('error'):.2f}" for run in runs.values()), flush=True)


def table() -> None:
    """Write the metrics of each run, and the mean errors of each row in Markdown."""
    rows: list[dict[str, Any]] = []
    for start, data, row, out in cells():
        if (out / "comparison.json").exists():
            (runs,) = read_comparison(out).runs.values()
            rows += [
                {"start": start, "data": data, "row": named(row), "seed": seed}
                | {metric: run.value(metric) for metric in METRICS}
                for seed, run in sorted(runs.items())
            ]
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / "seeds.csv", as_csv(rows))
    for start, sets in DATA.items():
        found = [row for row in rows if row["start"] == start]
        write_text(RESULTS / f"{start}.md", "\n".join(_table(found, list(sets))) + "\n")


def _table(rows: list[dict[str, Any]], sets: list[str]) -> list[str]:
    """Error and, in brackets, log loss in nats and the number of seeds."""
    lines = [f"| | {' | '.join(sets)} |", "|---|" + "---:|" * len(sets)]
    for name in dict.fromkeys(row["row"] for row in rows):
        cells = []
        for data in sets:
            of_cell = [row for row in rows if (row["row"], row["data"]) == (name, data)]
            error, loss = (sum(row[of] for row in of_cell) / max(1, len(of_cell)) for of in ("error", "log-loss"))
            cells.append(f"{error:.1f} ({loss / 100:.2f}; {len(of_cell)})" if of_cell else "")
        lines.append(f"| {name.replace(',', ', ')} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", *workers]:
            run(int(*workers or ["2"]))
            table()
        case ["table"]:
            table()
        case _:
            sys.exit("Write run, run WORKERS, or table.")
