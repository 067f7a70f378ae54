"""Each method at its own best settings: what is chosen on validation images, and what is judged."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import results.evidence
import results.tuned as tuned
from torchmoments_lab.report.reading import read_comparison

# They train.
pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parent.parent.parent / "results"
KEPT = sorted(path.parent.name for path in RESULTS.glob("tuned-*/section.md"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A root for runs and results that is empty."""
    monkeypatch.setattr(tuned, "ROOT", tmp_path)
    monkeypatch.setattr(results.evidence, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path


@pytest.mark.thorough
def test_the_best_on_validation_images_is_judged_once_with_fresh_seeds(place):
    study = tuned.Study(
        "Q", "A", {"data": "digits", "width": 4}, {"lr": (0.0001, 0.1), "epochs": (1, 2, 3)}, tuning=2, judged=3
    )
    tuned.run("tiny", study, {"workers": 1, "device": "cpu"})
    tuned.table("tiny", study)
    out = place / "results" / "tuned-tiny"
    chosen = json.loads((out / "chosen.json").read_text())
    rows = list(csv.DictReader((out / "validation.csv").open()))
    assert len(rows) == 6
    for method in tuned.METHODS:
        best = min(rows, key=lambda row: float(row[f"{method} error"]))
        assert chosen["best"][method] == {"lr": float(best["lr"]), "epochs": int(best["epochs"])}
        assert chosen["same-time"][method]["epochs"] <= 2
        runs = read_comparison(place / "runs" / "studies" / "tuned-tiny" / "judged" / f"best-{method}").runs[method]
        assert sorted(runs) == [0, 1, 2]
        assert {run.config["first_seed"] for run in runs.values()} == {1000}
        assert {run.config["evaluate"] for run in runs.values()} == {"test"}
        assert {run.config["epochs"] for run in runs.values()} == {chosen["best"][method]["epochs"]}
    line = next(line for line in (out / "section.md").read_text().splitlines() if "best settings | moex" in line)
    assert f"| {np.mean([run.value('error') for run in runs.values()]):.2f} |" in line


@pytest.mark.parametrize("name", KEPT)
def test_the_committed_tables_are_those_of_the_committed_files(name):
    study, folder = tuned.STUDIES[name.removeprefix("tuned-")], RESULTS / name
    chosen = json.loads((folder / "chosen.json").read_text())
    assert tuned.judgement(name, chosen) in (folder / "section.md").read_text()
    rows = list(csv.DictReader((folder / "validation.csv").open()))
    for method, cell in chosen["best"].items():
        best = min(rows, key=lambda row: float(row[f"{method} error"]))
        assert {axis: float(best[axis]) for axis in study.grid} == cell
