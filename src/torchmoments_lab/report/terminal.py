"""What the terminal shows of a report: parts, one printed below the other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Shown
from rich.text import Text

if TYPE_CHECKING:
    from torchmoments_lab.report.page import Table


def parts(tables: "Sequence[Table]") -> list[Shown | Text | str]:
    """Each table below its caption."""
    return [part for table in tables for part in (Text(table.caption, style="dim"), _shown(table), "")]


def empty() -> Shown:
    """A table without rows, as all of them look."""
    return Shown(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _shown(table: "Table") -> Shown:
    shown = empty()
    for number, heading in enumerate(table.headings):
        if table.numbers and number >= table.names:
            shown.add_column(Text(heading), justify="right", no_wrap=True)
        else:
            shown.add_column(Text(heading), overflow="fold")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown
