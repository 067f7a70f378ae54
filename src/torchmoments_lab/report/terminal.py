"""What the terminal shows of a comparison, and of the tables of other reports: parts, one printed below the other."""

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table as Shown
from rich.text import Text

from torchmoments_lab.report import conclusion, wording

if TYPE_CHECKING:
    from torchmoments_lab.report.page import Table


def of_comparison(summary: dict[str, Any]) -> list[Shown | Text | str]:
    """The table of the methods and the conclusion, of what summary.json holds."""
    note = "± is the 95% CI over seeds. s/run is rough: runs share the machine."
    return [_methods(summary), "", Text(note, style="dim"), "", *summary["conclusion"]]


def of_tables(tables: "list[Table]") -> list[Shown | Text | str]:
    """Each table with its caption."""
    return [part for table in tables for part in (Text(table.caption, style="dim"), _table(table), "")]


def empty() -> Shown:
    """A table without rows, as all of them look."""
    return Shown(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _table(table: "Table") -> Shown:
    shown = empty()
    for heading in table.headings:
        shown.add_column(Text(heading), overflow="fold")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _methods(summary: dict[str, Any]) -> Shown:
    """Error, paired difference, p, Holm-adjusted p, number of seeds, seconds."""
    shown = empty()
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
