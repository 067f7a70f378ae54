"""The studies of results/studies.py: commands that parse, and a page that is made of what was run."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tyro

from tests.scripts import load
from torchmoments_lab.methods import parse_method, parse_methods
from torchmoments_lab.report.records import write_summary
from torchmoments_lab.report.summary import Cell, SweepSummary
from torchmoments_lab.requests import Compare, Probe, Sweep
from torchmoments_lab.statistics.values import Difference, Estimate
from torchmoments_lab.sweep.grid import cells, parse_grid


def asked(kind, words):
    return tyro.cli(kind, args=words, config=(tyro.conf.OmitArgPrefixes,))


PATH = Path(__file__).parent.parent.parent / "results" / "studies.py"


@pytest.fixture
def studies():
    return load(PATH)


@pytest.mark.parametrize("study", load(PATH).studies(), ids=lambda study: study.name)
def test_the_command_of_a_study_is_one_that_runs(study, tmp_path, monkeypatch):
    # Where the weights are that the study brings before it starts.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "data").mkdir(parents=True)
    (tmp_path / "runs" / "data" / "lite0.safetensors").touch()
    kind, *words = shlex.split(study.command)
    config = asked({"sweep": Sweep, "probe": Probe, "compare": Compare}[kind], words)
    config.check()
    if kind == "compare":
        parse_methods(config.methods)
    if kind == "sweep":
        assert len(cells(parse_grid(config.grid), config.method)) > 1
        for word in (config.reference, *(config.controls or ())):
            parse_method(word)


def test_the_four_switches_end_in_mixstyle(studies):
    """All that MixStyle is, but its eps; its own defaults for what is switched."""
    import torchmoments as tm

    (study,) = [study for study in studies.studies() if study.name == "switches-digits"]
    config = asked(Sweep, shlex.split(study.command)[1:])
    first, *_, last = cells(parse_grid(config.grid), config.method)
    assert parse_method(first.spec).mixer == tm.MoEx()
    corner, published = parse_method(last.spec).mixer, tm.MixStyle()
    assert (corner.lam, corner.grad, corner.norm, corner.moment) == (1.0, "none", "in", "both")
    assert (corner.alpha, corner.p) == (published.alpha, published.p)


def test_the_page_shows_what_was_run_and_lists_what_was_not(studies, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    monkeypatch.setattr(studies, "RESULTS", tmp_path / "results")
    folder = tmp_path / "results" / "norm-digits"
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for name in ("head.md", "recipes.md"):
        (tmp_path / "results" / name).write_text(f"# {name}")
    error = Estimate(4.8, (4.5, 5.1), 20)
    difference = Difference(
        -0.4, (-0.6, -0.2), 20, df=19.0, p_value=0.01, p_adjusted=0.02, ci95_adjusted=(-0.7, -0.1), outcome="gain"
    )
    summary = SweepSummary(
        axes={"norm": ("pono",)},
        reference="none",
        references=(Cell({}, "none", Estimate(5.2, (4.9, 5.5), 20), None),),
        controls=(),
        cells=(Cell({"norm": "pono"}, "moex:norm=pono", error, difference),),
        best=None,
        effects=(),
        grown=False,
        seconds=1.0,
        settings={"data": "digits", "train_size": 200, "evaluate": "validation"},
        images=100,
        covers_images=True,
        environments=({"torch": "2.14", "python": "3.11", "cpu": "a CPU", "threads": 1},),
        failed=(),
        conclusion=("Lowest error: 4.80 %.",),
    )
    write_summary(folder / "summary.json", summary)
    (folder / "sweep.svg").write_text("<svg/>")
    (folder / "predictions.npz").write_bytes(b"")
    studies.page()
    page = (tmp_path / "docs" / "results-in-full.md").read_text()
    assert "## Which moments" in page
    assert "../results/norm-digits/sweep.svg" in page
    assert "| pono | 4.80 ± 0.30 | \N{MINUS SIGN}0.40 ± 0.30 | 0.0200 | 20 |" in page
    assert "- Lowest error: 4.80 %." in page
    assert "a CPU, 1 thread a run. [summary.json](../results/norm-digits/summary.json), [predictions.npz](" in page
    assert "digits, 200 training images. torch 2.14, Python 3.11, a CPU" in page
    assert "studies.py run lam-p-digits" in page
    assert "studies.py run norm-digits" not in page


def test_the_committed_page_is_that_of_the_committed_results(studies, tmp_path, monkeypatch):
    committed = (PATH.parent.parent / "docs" / "results-in-full.md").read_text()
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    studies.page()
    assert (tmp_path / "docs" / "results-in-full.md").read_text() == committed


KINDS = {
    "compare": ("compare --data digits --methods none moex --seeds 2", "differences.svg"),
    "sweep": ("sweep --grid p=0.5/1 --seeds 2", "sweep.svg"),
    "probe": ("probe --norms pono --seeds 2", "probe.svg"),
}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_of_a_study_is_enough_to_compute_it_again(studies, tmp_path, monkeypatch, kind):
    (tmp_path / "docs").mkdir()
    for name in ("ROOT", "RESULTS", "RUNS"):
        monkeypatch.setattr(studies, name, tmp_path / getattr(studies, name).relative_to(PATH.parent.parent))
    (tmp_path / "results").mkdir()
    command, picture = KINDS[kind]
    short = studies.Study("short", 1, "A question", "About.", f"{command} --epochs 1 --train-size 20 --workers 1")
    assert studies.run(short) == 0
    folder = tmp_path / "results" / "short"
    assert {path.name for path in folder.iterdir()} == {"seeds.csv", "summary.json", "predictions.npz", picture}
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    kept = np.load(folder / "predictions.npz")
    errors = 100 * (kept["predicted"] != kept["targets"]).mean(axis=1)
    with (folder / "seeds.csv").open(newline="") as file:
        written = [float(row["error"]) for row in csv.DictReader(file)]
    assert sorted(errors) == pytest.approx(sorted(written))
    assert all(re.search(r"runs/[^/]+/seed[01]$", run) for run in kept["runs"])
    assert "## A question" in studies._section(short)


def test_predictions_that_are_large_are_not_kept(studies, tmp_path, monkeypatch):
    run = tmp_path / "runs/none/seed0"
    run.mkdir(parents=True)
    rows = np.zeros(50, dtype=[("target", np.int64), ("predicted", np.int64)])
    np.save(run / "predictions.npy", rows)
    studies.keep(tmp_path, tmp_path / "kept", ())
    assert (tmp_path / "kept/predictions.npz").exists()
    monkeypatch.setattr(studies, "LARGEST", 10)
    studies.keep(tmp_path, tmp_path / "kept", ())
    assert not (tmp_path / "kept/predictions.npz").exists()


def test_the_kept_results_name_no_folder_of_a_machine():
    for path in PATH.parent.rglob("*.md"):
        assert not re.search(r"(?<![\w.])/(?:tmp|home|work)/", path.read_text()), path


def test_the_kept_report_has_its_pictures():
    folder = PATH.parent / "demo"
    named = re.findall(r"\]\(([\w-]+\.png)\)", (folder / "report.md").read_text())
    assert len(named) == 6
    assert [name for name in named if not (folder / name).exists()] == []


def test_an_unknown_study_is_refused(studies, capsys):
    assert studies.main(["run", "nothing"]) == 2
    assert "lam-p-digits" in capsys.readouterr().err
