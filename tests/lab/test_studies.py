"""The studies of results/studies.py: commands that parse, and a page that is made of what was run."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import tyro

from torchmoments_lab.config import CompareConfig
from torchmoments_lab.methods import parse_method, parse_methods
from torchmoments_lab.probe.config import ProbeConfig
from torchmoments_lab.sweep.config import SweepConfig
from torchmoments_lab.sweep.grid import cells, parse_grid

PATH = Path(__file__).parent.parent.parent / "results" / "studies.py"


@pytest.fixture
def studies():
    spec = importlib.util.spec_from_file_location("studies", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load():
    spec = importlib.util.spec_from_file_location("studies", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STUDIES


@pytest.mark.parametrize("study", load(), ids=lambda study: study.name)
def test_the_command_of_a_study_is_one_that_runs(study):
    kind, *words = shlex.split(study.command)
    config = tyro.cli({"sweep": SweepConfig, "probe": ProbeConfig, "compare": CompareConfig}[kind], args=words)
    config.check()
    if kind == "compare":
        parse_methods(config.methods)
    if kind == "sweep":
        assert len(cells(parse_grid(config.grid), config.method)) > 1
        for word in (config.reference, *config.controls):
            parse_method(word)


def test_the_four_switches_end_in_mixstyle(studies):
    """All that MixStyle is, but its eps; its own defaults for what is switched."""
    import torchmoments as tm

    (study,) = [study for study in studies.STUDIES if study.name == "switches-digits"]
    config = tyro.cli(SweepConfig, args=shlex.split(study.command)[1:])
    first, *_, last = cells(parse_grid(config.grid), config.method)
    assert parse_method(first.word).mixer == tm.MoEx()
    corner, published = parse_method(last.word).mixer, tm.MixStyle()
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
    summary = {
        "conclusion": ["Lowest error: 4.80 %."],
        "settings": {"data": "digits", "train_size": 200},
        "environments": [{"torch": "2.14", "python": "3.11", "cpu": "a CPU", "threads": 1}],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "table.md").write_text("| norm |")
    (folder / "sweep.svg").write_text("<svg/>")
    studies.page()
    page = (tmp_path / "docs" / "results.md").read_text()
    assert "## Which moments" in page
    assert "../results/norm-digits/sweep.svg" in page
    assert "- Lowest error: 4.80 %." in page
    assert "digits, 200 training images. torch 2.14, Python 3.11, a CPU, 1 thread a run." in page
    assert "studies.py run lam-p-digits" in page
    assert "studies.py run norm-digits" not in page


def test_the_committed_page_is_that_of_the_committed_results(studies, tmp_path, monkeypatch):
    committed = (PATH.parent.parent / "docs" / "results.md").read_text()
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    studies.page()
    assert (tmp_path / "docs" / "results.md").read_text() == committed


def test_what_is_kept_of_a_study_names_no_folder_of_this_machine(studies, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for name in ("ROOT", "RESULTS", "RUNS"):
        monkeypatch.setattr(studies, name, tmp_path / getattr(studies, name).relative_to(PATH.parent.parent))
    (tmp_path / "results").mkdir()
    command = "compare --data digits --methods none moex --seeds 2 --epochs 1 --train-size 20 --workers 1"
    assert studies.run(studies.Study("short", 1, "A question", "About.", command)) == 0
    kept = list((tmp_path / "results" / "short").iterdir())
    assert {"report.md", "report.html", "table.md"} <= {path.name for path in kept}
    for path in kept:
        assert str(tmp_path).encode() not in path.read_bytes()


def test_the_kept_results_name_no_folder_of_a_machine():
    for path in PATH.parent.rglob("*.md"):
        assert not re.search(r"(?<![\w.])/(?:tmp|home|work)/", path.read_text()), path


def test_an_unknown_study_is_refused(studies, capsys):
    assert studies.main(["run", "nothing"]) == 2
    assert "lam-p-digits" in capsys.readouterr().err
