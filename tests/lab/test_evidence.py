"""What the studies show together: from the committed predictions, and by the formulas of a report."""

from pathlib import Path

import numpy as np
import pytest

from tests.scripts import load
from torchmoments_lab.report.records import read_summary

PATH = Path(__file__).parent.parent.parent / "results" / "evidence.py"


@pytest.fixture
def evidence():
    return load(PATH)


@pytest.mark.slow
def test_the_committed_tables_and_pictures_are_those_of_the_committed_predictions(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "OUT", tmp_path)
    evidence.main()
    made = {path.name for path in tmp_path.iterdir()}
    committed = PATH.parent / "evidence"
    assert made == {path.name for path in committed.iterdir() if not path.name.endswith("-findings.md")}
    for path in (path for path in tmp_path.iterdir() if path.suffix in (".md", ".json")):
        assert path.read_text() == (committed / path.name).read_text()


def test_differences_are_those_of_the_reports_of_the_studies(evidence):
    """Alone: a report judges all methods of a comparison together, here those of one question."""
    found, _ = evidence.over(evidence.DATA_SETS, evidence.GAINS)
    for words, study in evidence.DATA_SETS.items():
        if words in found:
            of_report = read_summary(PATH.parent / study / "summary.json").paired["moex"].metrics["error"]
            here = found[words]["moex minus none"]
            assert (here.mean, here.n) == (pytest.approx(of_report.mean), of_report.n)
            assert here.p_value == pytest.approx(of_report.p_value)


def test_every_data_set_counts_once(evidence):
    """What shares its test images is no second sample."""
    targets = [evidence._predictions(study)[0] for study in evidence.DATA_SETS.values() if evidence.is_there(study)]
    assert len({(len(of), of.tobytes()) for of in targets}) == len(targets)


def test_a_difference_is_paired_by_seed_and_image(evidence, tmp_path, monkeypatch):
    runs = ["a=1/runs/none/seed0", "a=1/runs/none/seed2", "a=1/runs/moex%3Alam=1/seed2", "a=2/runs/none/seed2"]
    predicted = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    (tmp_path / "study").mkdir()
    np.savez(tmp_path / "study" / "predictions.npz", targets=np.array([0, 1]), runs=runs, predicted=predicted)
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    # Image 0 is right now, and image 1 wrong.
    assert evidence.paired("study", "moex:lam=1", "none", "a=1").tolist() == [[-100.0, 100.0]]
