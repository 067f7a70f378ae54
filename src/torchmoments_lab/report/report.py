"""The files of a report. All are made from the folder alone: the same runs and images give the same bytes.

report.html, report.md     the page
NAME.png, NAME.svg         its pictures
seeds.csv                  the error of every complete run
summary.json               see `records`
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torchmoments_lab.files import as_csv, write_bytes, write_text
from torchmoments_lab.report import conclusion, contents, provenance, render, wording
from torchmoments_lab.report.page import Block, Page, Section, with_commands
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.report.records import write_summary
from torchmoments_lab.report.runs import Runs
from torchmoments_lab.report.summarize import summarize
from torchmoments_lab.report.summary import AnySummary, ProbeSummary, Summary, SweepSummary, metric_of
from torchmoments_lab.settings import Metric

Rows = Sequence[Mapping[str, object]]


def write(out: Path, *, metric: Metric | None = None, needs_complete: bool = False) -> Summary:
    """Read the comparison in `out`, and write its report there.

    Args:
        out: folder of a comparison.
        metric: to judge by in place of the one that the comparison was begun with.
        needs_complete: refuse a comparison without a single complete run.

    Raises:
        ValueError: `out` is no comparison, cannot be written, or holds a damaged file. Then nothing was written.
    """
    comparison = read_comparison(out)
    declared = metric_of(comparison.settings)
    if metric is not None and metric != declared:
        complete = [run for of_method in comparison.runs.values() for run in of_method.values()]
        if any(metric not in run.scores for run in complete):
            raise ValueError(
                f"metric {metric} needs images of two classes; those of '{out}' are of one. Choose another --metric."
            )
        settings = {**comparison.settings, "metric": metric, "metric_declared": declared}
        comparison = replace(comparison, settings=settings)
    summary = summarize(comparison)
    if needs_complete and summary.images is None:
        raise ValueError(
            f"report needs a complete run; '{out}' has none. Run its comparison first: rerun the command to resume."
        )
    summary = replace(summary, conclusion=tuple(conclusion.sentences(summary)))
    try:
        write_files(out, contents.page(comparison, summary), summary, seed_rows(comparison.runs))
    except OSError as error:
        raise ValueError(
            f"report needs a folder that can be written; got '{out}' ({error.strerror}). Copy it to one."
        ) from error
    return summary


def write_grid(
    out: Path, title: str, summary: SweepSummary | ProbeSummary, blocks: Sequence[Block], runs: Runs, seeds: Rows
) -> None:
    """Write the report of a sweep or a probe, whose results are `blocks`."""
    first, *others = summary.conclusion
    page = Page(
        title=f"{wording.data_name(summary.settings.get('data', out.name))}: {title}",
        conclusion=wording.typeset(first),
        facts=provenance.facts(summary, [len(of_method) for of_method in runs.values() if of_method]),
        sections=[
            Section("Results", [*with_commands(others), *blocks]),
            Section("How it was made", [*provenance.of_runs(summary.settings, runs)]),
        ],
        end="Made from the run folders alone. Rerun the command to make it again.",
    )
    write_files(out, page, summary, seeds)


def write_files(out: Path, page: Page, summary: AnySummary, seeds: Rows) -> None:
    """Write the report of any command; `seeds` are the rows of seeds.csv."""
    write_text(out / "report.html", render.html(page))
    write_text(out / "report.md", render.markdown(page))
    for picture in page.pictures:
        write_bytes(out / f"{picture.name}.png", picture.drawing.png)
        write_bytes(out / f"{picture.name}.svg", picture.drawing.svg)
    write_text(out / "seeds.csv", as_csv(seeds))
    write_summary(out / "summary.json", summary)


def seed_rows(runs: Runs) -> list[dict[str, object]]:
    """One row a run with all its metrics, so that every number of a report can be worked out again."""
    return [
        {"method": run.method, "seed": run.seed, **{of: run.value(of) for of in run.scores}, "seconds": run.seconds}
        for of_method in runs.values()
        for run in of_method.values()
    ]
