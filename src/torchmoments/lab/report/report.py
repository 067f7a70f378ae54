"""What a comparison shows, made from its folder alone: summary.json, the report, its figures, the terminal's table."""

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from torchmoments.lab.files import write_bytes, write_json
from torchmoments.lab.report import conclusion, contents, render, wording
from torchmoments.lab.report.page import Picture
from torchmoments.lab.report.reading import read_comparison
from torchmoments.lab.report.summary import summarize


def write(out: Path, *, needs_complete: bool = False) -> dict[str, Any]:
    """Read the runs in `out` and write summary.json, report.html, report.md and the figures there.

    The same runs give the same bytes, wherever the folder is.

    Args:
        out: folder of a comparison.
        needs_complete: refuse a comparison without a single complete run.

    Returns:
        What summary.json holds, see `summary.summarize`, and under "conclusion" the sentences.

    Raises:
        ValueError: `out` is no comparison, cannot be written, or holds a damaged file. Then nothing was written.
    """
    comparison = read_comparison(out)
    summary = summarize(comparison)
    if needs_complete and summary["test_images"] is None:
        raise ValueError(
            f"report needs a complete run; '{out}' has none. Run its comparison first: the same compare goes on there."
        )
    summary["conclusion"] = conclusion.sentences(summary)
    page = contents.page(comparison, summary)
    files = {"report.html": render.html(page).encode(), "report.md": render.markdown(page).encode()}
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                files |= {f"{block.name}.png": block.drawing.png, f"{block.name}.svg": block.drawing.svg}
    try:
        for name, content in files.items():
            write_bytes(out / name, content)
        write_json(out / "summary.json", summary)
    except OSError as error:
        raise ValueError(
            f"report needs a folder that can be written; got '{out}' ({error.strerror}). Copy it to one."
        ) from error
    return summary


def table(summary: dict[str, Any]) -> Table:
    """The terminal's table: error, paired difference, p, Holm-adjusted p, number of seeds, seconds."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown.add_column("method", overflow="fold")
    for heading in (
        f"{conclusion.metric_name(summary)} %",
        f"minus {summary['reference']}",
        "p",
        "p Holm",
        "n",
        "s/run",
    ):
        shown.add_column(Text(heading), justify="right", no_wrap=True)
    for word, of_method in summary["methods"].items():
        paired = summary["paired"].get(word)
        error = wording.plus_minus(of_method["error_mean"], of_method["error_ci95"])
        compared = ["", "", ""]
        if paired is not None:
            compared = [
                wording.plus_minus(paired["difference_mean"], paired["difference_ci95"], sign="+"),
                wording.p_value(paired["p_value"]),
                wording.p_value(paired["p_holm"]),
            ]
        seconds = of_method["seconds_mean"]
        shown.add_row(Text(word), error, *compared, str(of_method["n"]), "-" if seconds is None else f"{seconds:.1f}")
    return shown
