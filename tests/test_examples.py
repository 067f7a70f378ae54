"""The examples run, and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(script: str, *arguments: object, at: Path = ROOT) -> str:
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=at,
        env={**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.thorough
def test_the_autoencoder_reconstructs_better_with_its_moments(tmp_path):
    picture = tmp_path / "autoencoder.png"
    printed = run("examples/autoencoder.py", "--out", picture, "--epochs", 3)
    without, with_moments = (float(error) for error in re.findall(r"error (\S+) on 360 test images", printed))
    assert with_moments < without
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_tour_runs_from_top_to_bottom_and_ends_with_the_report(tmp_path):
    tour = (ROOT / "examples" / "tour.py").read_text()
    shorter = tour.replace("seeds=10, epochs=30", "seeds=3, epochs=3")
    assert shorter != tour
    (tmp_path / "tour.py").write_text(shorter)
    printed = run("tour.py", at=tmp_path)
    assert re.search(r"^moex:lam=0.5,at=2 +error \d+\.\d\d%, 95% CI", printed, re.MULTILINE)
    assert (tmp_path / "runs" / "tour" / "report.html").exists()


@pytest.mark.thorough
@pytest.mark.slow
def test_every_page_of_a_method_has_its_picture(tmp_path):
    run("docs/draw_methods.py", "--out", tmp_path)
    drawn = {picture.name for picture in tmp_path.iterdir()}
    assert drawn == {picture.name for picture in (ROOT / "docs/images/methods").iterdir()}
    for page in (ROOT / "docs/methods").glob("*.md"):
        (shown,) = re.findall(r"\(\.\./images/methods/(\S+)\)", page.read_text())
        assert shown in drawn
