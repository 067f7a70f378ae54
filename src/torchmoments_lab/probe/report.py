"""What a probe shows: its statistics, its table, its figure and its sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from torchmoments_lab.report import figures
from torchmoments_lab.report.drawing import ACCENT, MUTED, draw
from torchmoments_lab.report.page import Picture, Table
from torchmoments_lab.report.reading import Runs, errors_of, read_runs
from torchmoments_lab.report.report import seed_rows, write_grid
from torchmoments_lab.report.summarize import about
from torchmoments_lab.report.summary import Failure, ProbeSummary, View
from torchmoments_lab.report.wording import compared, p_value, plus_minus, with_interval
from torchmoments_lab.settings import Setting
from torchmoments_lab.statistics import LEVEL, estimate, interval_with_images, paired, with_holm

_CHANCE = "nothing (chance)"


def write(
    out: Path, settings: Mapping[str, Setting], norms: Sequence[str], seeds: int, frequent: Mapping[int, int]
) -> ProbeSummary:
    """Read the runs in `out`, and write the report of the probe there, see `report.report`.

    Args:
        settings: those that all runs share.
        norms: those to report.
        seeds: number of seeds to report.
        frequent: {seed: most frequent class of its training images}.

    Raises:
        ValueError: runs are on different test images.
    """
    found, failed = read_runs(out, ["none", "features", *_parts(norms)])
    runs = {method: {seed: run for seed, run in of.items() if seed < seeds} for method, of in found.items()}
    summary = summarize(settings, norms, runs, [failure for failure in failed if failure.seed < seeds], frequent)
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
) -> ProbeSummary:
    """What the runs show, without the conclusion. p_holm counts moments and normalized features of all norms."""
    errors = {method: errors_of(of_method) for method, of_method in runs.items()}
    parts = _parts(norms)
    minus = with_holm([paired(errors[part], errors["features"]) for part in parts])
    differences = dict(zip(parts, minus, strict=True))
    first = next((run for of_method in runs.values() for run in of_method.values()), None)
    chance = (
        [] if first is None else [100 * float(np.mean(first.predictions["target"] != c)) for c in frequent.values()]
    )
    # Seeds alone would not do: they share the test images, and often the training images.
    minus_chance = {
        norm: [
            100.0 * (run.predictions["target"] != run.predictions["predicted"])
            - 100.0 * (run.predictions["target"] != frequent[seed])
            for seed, run in runs[f"moments:norm={norm}"].items()
        ]
        for norm in norms
    }
    return ProbeSummary(
        norms=tuple(norms),
        views={
            "chance": View(estimate(chance)),
            **{name: View(estimate(list(of.values())), differences.get(name)) for name, of in errors.items()},
        },
        minus_chance_ci95={
            norm: interval_with_images(np.array(rows)) if rows else None for norm, rows in minus_chance.items()
        },
        **about(runs, failed, settings),
    )


def table(summary: ProbeSummary) -> Table:
    """One row for each norm and input of the rest of the network."""
    rows = [
        [norm, name, plus_minus(view.error), *compared(view.difference), str(view.error.n)]
        for norm, name, view in _rows(summary)
    ]
    caption = f"Error on {summary.images or 0:,} images, mean over seeds ± 95% CI, at {summary.settings['at']}"
    return Table(caption, ["norm", "input", "error, %", "minus features, points", "p Holm", "n"], rows, names=2)


def sentences(summary: ProbeSummary) -> list[str]:
    """Both halves of the paper's claim, for each norm."""
    found = []
    for norm in summary.norms:
        error, chance = summary.views[f"moments:norm={norm}"].error.mean, summary.views["chance"].error.mean
        normalized = summary.views[f"normalized:norm={norm}"].difference
        if error is None or chance is None:
            found.append(f"{norm}: no complete run.")
            continue
        ci95 = summary.minus_chance_ci95[norm]
        verdict = "moments predict the class" if ci95 and ci95[1] < 0 else "not shown that moments predict the class"
        if ci95 is None:
            verdict = "without an interval (one seed, or no spread) it is not shown that moments predict the class"
        found.append(f"{norm}: with the moments alone the error is {error:.1f}%, chance is {chance:.1f}%: {verdict}.")
        if normalized is None or normalized.mean is None:
            continue
        shown = normalized.p_holm is not None and normalized.p_holm < LEVEL
        outcome = ("lose " if normalized.mean > 0 else "gain ") if shown else "are not shown to lose anything: "
        found.append(
            f"{norm}: without their moments the features {outcome}{with_interval(normalized, '+')} points "
            f"(p Holm {p_value(normalized.p_holm)})."
        )
    return [*found, *summary.on_runs()]


def figure(summary: ProbeSummary) -> Figure:
    """One row for each norm and input, on a logarithmic axis."""
    rows = [
        figures.Bar([norm, name], view.error, MUTED) if name == _CHANCE else figures.Bar(["", name], view.error, ACCENT)
        for norm, name, view in _rows(summary)
    ]
    label = "error, %, on a logarithmic axis; mean over seeds with 95% CI"
    return figures.bars([figures.Bars(rows, label, log=True)])


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
