"""What a probe shows: its statistics, its table, its figure and its sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from torchmoments_lab.report.bars import Bar, Bars, bars
from torchmoments_lab.report.drawing import ACCENT, MUTED, draw
from torchmoments_lab.report.page import Picture, Table
from torchmoments_lab.report.reading import read_runs
from torchmoments_lab.report.report import seed_rows, write_grid
from torchmoments_lab.report.runs import Runs, minus, scores_of
from torchmoments_lab.report.summarize import about, possible
from torchmoments_lab.report.summary import Failure, ProbeSummary, View
from torchmoments_lab.report.wording import adjusted, compared, p_value, plus_minus, with_interval
from torchmoments_lab.settings import Setting
from torchmoments_lab.statistics.crossed import estimate
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Looks
from torchmoments_lab.statistics.several import differences
from torchmoments_lab.statistics.values import Difference, Estimate
from torchmoments_lab.typed import counted

_CHANCE = "nothing (chance)"


def write(
    out: Path,
    settings: Mapping[str, Setting],
    norms: Sequence[str],
    seeds: int,
    grown: bool,
    frequent: Mapping[int, int],
) -> ProbeSummary:
    """Read the runs in `out`, and write the report of the probe there, see `report.report`.

    Args:
        settings: those that all runs share.
        norms: those to report.
        seeds: number of seeds to report.
        grown: whether there were fewer before, without a plan.
        frequent: {seed: most frequent class of its training images}.

    Raises:
        ValueError: runs are on different test images.
    """
    found, failed = read_runs(out, ["none", "features", *_parts(norms)])
    runs = {method: {seed: run for seed, run in of.items() if seed < seeds} for method, of in found.items()}
    not_run = [failure for failure in failed if failure.seed < seeds]
    summary = summarize(settings, norms, runs, not_run, frequent, grown)
    summary = replace(summary, conclusion=tuple(sentences(summary)))
    numbers = [f"{norm} {name} {with_interval(view.error)}" for norm, name, view in _rows(summary)]
    described = f"Error in percent: {'; '.join(numbers)}."
    picture = Picture("probe", described, draw("probe", lambda: figure(summary)))
    title = f"moments and normalized features at {settings['at']}"
    write_grid(out, title, summary, [picture, table(summary)], runs, seed_rows(runs))
    return summary


def summarize(
    settings: Mapping[str, Setting],
    norms: Sequence[str],
    runs: Runs,
    failed: Sequence[Failure],
    frequent: Mapping[int, int],
    grown: bool,
) -> ProbeSummary:
    """What the runs show, without the conclusion. Moments and normalized features of all norms are judged together, and
    so are the moments of all norms and chance."""
    parts, looks = _parts(norms), ANYTIME if grown else ONCE
    minus_features = [minus(runs[part], runs["features"], "error") for part in parts]
    judged = dict(zip(parts, _judged(minus_features, looks), strict=True))
    first = next((run for of_method in runs.values() for run in of_method.values()), None)
    targets = np.empty(0) if first is None else first.predictions["target"]
    chance = {seed: 100.0 * (targets != c) for seed, c in frequent.items()}
    of_moments = [runs[f"moments:norm={norm}"] for norm in norms]
    minus_chance = [
        np.array([run.scores["error"] - chance[seed] for seed, run in of.items()]) if of else np.empty((0, 0))
        for of in of_moments
    ]
    return ProbeSummary(
        norms=tuple(norms),
        views={
            "chance": View(_error(np.array(list(chance.values())))),
            **{name: View(_error(scores_of(of, "error")), judged.get(name)) for name, of in runs.items()},
        },
        minus_chance=dict(zip(norms, _judged(minus_chance, looks), strict=True)),
        grown=grown,
        **about(runs, failed, settings),
    )


def _judged(paired: Sequence[np.ndarray], looks: Looks) -> list[Difference]:
    """Differences of errors that were all looked at in the same way."""
    return [possible(found, "error") for found in differences(paired, [looks] * len(paired))]


def _error(scores: np.ndarray) -> Estimate:
    return possible(estimate(scores), "error")


def table(summary: ProbeSummary) -> Table:
    """One row for each norm and input of the rest of the network."""
    rows = [
        [norm, name, plus_minus(view.error), *compared(view.difference), str(view.error.n)]
        for norm, name, view in _rows(summary)
    ]
    images, place = counted(summary.images or 0, "image"), summary.settings["at"]
    caption = f"Error on {images}, mean ± 95% CI, at {place}; differences and p for all of them together"
    return Table(
        caption, ["norm", "input", "error, %", "minus features, points", "p", "n"], rows, names=2, spare=("n", "p")
    )


def sentences(summary: ProbeSummary) -> list[str]:
    """Both halves of the paper's claim, for each norm."""
    found = []
    for norm in summary.norms:
        error, chance = summary.views[f"moments:norm={norm}"].error.mean, summary.views["chance"].error.mean
        normalized = summary.views[f"normalized:norm={norm}"].difference
        if error is None or chance is None:
            found.append(f"{norm}: no complete run.")
            continue
        outcome = summary.minus_chance[norm].outcome
        verdict = "moments predict the class" if outcome == "gain" else "not shown that moments predict the class"
        if outcome == "unknown":
            verdict = "without an interval (1 or 2 seeds, or no spread) it is not shown that moments predict the class"
        below = f" ({with_interval(adjusted(summary.minus_chance[norm]), '+')} points)" if outcome != "unknown" else ""
        found.append(
            f"{norm}: with the moments alone the error is {error:.1f}%, chance is {chance:.1f}%{below}: {verdict}."
        )
        if normalized is None or normalized.mean is None:
            continue
        words = {"harm": "lose", "gain": "gain"}.get(normalized.outcome, "are not shown to lose anything:")
        found.append(
            f"{norm}: without their moments the features {words} {with_interval(adjusted(normalized), '+')} points "
            f"(p = {p_value(normalized.p_adjusted)})."
        )
    if summary.grown:
        found.append("Seeds were added without a plan; differences hold however often one looks.")
    return [*found, *summary.on_runs()]


def figure(summary: ProbeSummary) -> Figure:
    """One row for each norm and input, on a logarithmic axis."""
    rows = [
        Bar([norm, name], view.error, MUTED) if name == _CHANCE else Bar(["", name], view.error, ACCENT)
        for norm, name, view in _rows(summary)
    ]
    label = "error, %, on a logarithmic axis; mean with 95% CI"
    return bars([Bars(rows, label, log=True, signed=False)])


def _parts(norms: Sequence[str]) -> list[str]:
    return [f"{part}:norm={norm}" for norm in norms for part in ("moments", "normalized")]


def _rows(summary: ProbeSummary) -> list[tuple[str, str, View]]:
    """(norm, input, view), in the order of a table."""
    views = summary.views
    return [
        row
        for norm in summary.norms
        for row in (
            (norm, _CHANCE, views["chance"]),
            (norm, "moments alone", views[f"moments:norm={norm}"]),
            (norm, "normalized alone", views[f"normalized:norm={norm}"]),
            (norm, "features", views["features"]),
        )
    ]
