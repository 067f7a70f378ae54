"""The numbers of docs/solar-cells.md are those of the studies that it speaks of."""

import csv
from pathlib import Path

import numpy as np
from scipy import stats

from torchmoments_lab.report.records import read_summary
from torchmoments_lab.report.wording import adjusted, p_value, plus_minus

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "solar-cells.md").read_text()
RESULTS = ROOT / "results"


def errors_of(study, method="none"):
    with (RESULTS / study / "seeds.csv").open(newline="") as file:
        return np.array([float(row["error"]) for row in csv.DictReader(file) if row["method"] == method])


def test_the_table_is_that_of_the_study():
    summary = read_summary(RESULTS / "elpv-200" / "summary.json")
    for method, error in summary.errors.items():
        difference = summary.differences.get(method)
        words = [method, plus_minus(error)]
        words += [plus_minus(adjusted(difference), "+"), p_value(difference.p_adjusted)] if difference else []
        (row,) = (row for row in PAGE.splitlines() if row.startswith(f"    {method}  "))
        assert row.split()[: len(" ".join(words).split())] == " ".join(words).split()


def test_the_loop_that_is_written_by_hand_is_no_better():
    lines = (RESULTS / "elpv-200" / "handwritten.txt").read_text().splitlines()
    loop, none = np.array([float(line.split()[2]) for line in lines]), errors_of("elpv-200")
    assert f"| the loop | {loop.mean():.1f} | {loop.min():.1f} to {loop.max():.1f} |" in PAGE
    assert f"| `none` | {none.mean():.1f} | {none.min():.1f} to {none.max():.1f} |" in PAGE
    difference = none - loop
    half = stats.t.ppf(0.975, len(loop) - 1) * stats.sem(difference)
    low, high = difference.mean() - half, difference.mean() + half
    said = f"is {difference.mean():.2f} points (95% CI {low:.2f} to +{high:.2f} over seeds)".replace(
        "-", "\N{MINUS SIGN}"
    )
    assert said in PAGE
    assert low < 0


def test_what_more_pictures_change():
    many = errors_of("elpv-800")
    few = errors_of("elpv-200")[: len(many)]
    assert f"the error of `none` falls from {few.mean():.1f} to {many.mean():.1f}%" in PAGE
    half = stats.t.ppf(0.975, len(many) - 1) * stats.sem(few - many)
    assert f"by {(few - many).mean():.1f} ± {half:.1f} points" in " ".join(PAGE.split())
    summary = read_summary(RESULTS / "elpv-800" / "summary.json")
    assert {difference.outcome for difference in summary.differences.values()} == {"not shown"}
    balanced = summary.paired["cutmix"].metrics["balanced-error"]
    assert balanced.ci95_adjusted is not None
    low, high = balanced.ci95_adjusted
    assert f"(balanced error {balanced.mean:+.1f}, {low:.1f} to {high:.1f}, " in PAGE
