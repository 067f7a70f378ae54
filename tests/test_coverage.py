"""The simulations of what the lab's statistics promise: that they run, and see a promise that is broken."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.scripts import load

pytest.importorskip("scipy")
SCRIPT = Path(__file__).parent.parent / "benchmarks" / "coverage.py"
KEPT = SCRIPT.parent.parent / "results" / "coverage.md"
coverage = load(SCRIPT)


def numbers(text):
    return [float(number) for number in re.findall(r"\d+\.\d", text)]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_table_is_printed_again_as_it_is_kept():
    printed = subprocess.run([sys.executable, SCRIPT, "share"], capture_output=True, text=True, check=True).stdout
    kept = KEPT.read_text().partition("## Share")[2].partition("\n## ")[0]
    assert re.sub(r"\d", "", printed.partition("## Share")[2]).strip() == re.sub(r"\d", "", kept).strip()
    # Another processor may round otherwise.
    assert numbers(printed) == pytest.approx(numbers(kept), abs=1)


def test_the_kept_file_has_every_table():
    assert re.findall(r"^## (\w+)$", KEPT.read_text(), re.MULTILINE) == [name.capitalize() for name in coverage.TABLES]


def test_the_true_difference_of_a_world_is_the_mean_over_many_runs_and_images():
    rng = np.random.default_rng(0)
    for world in coverage.WORLDS:
        means = []
        for _ in range(30):
            scores, truth = coverage.paired(rng, world, 10, 3000, 0.02)
            means.append(scores.mean())
        assert np.mean(means) == pytest.approx(truth, abs=4 * np.std(means) / 30**0.5)
        assert set(np.unique(scores)) <= {-100.0, 0.0, 100.0}


def test_an_interval_over_seeds_alone_is_seen_to_cover_too_little():
    rows = {tuple(row.split(" | ")[:3]): row.split(" | ")[3:5] for row in KEPT.read_text().splitlines() if row}
    now, before = map(float, rows["| images differ", "360", "20"])
    assert now > 93
    assert before < 70
