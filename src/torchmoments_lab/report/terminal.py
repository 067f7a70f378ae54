"""What the terminal shows of a report: parts, one printed below the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table as Shown
from rich.text import Text

from torchmoments_lab.report.page import Command, Table, with_commands
from torchmoments_lab.report.wording import folded, longest, shares

# Between two columns of `box.SIMPLE_HEAD`.
_GAP = 3


@dataclass(frozen=True)
class Fitted:
    """A table in the width that there is: long words are folded, and if that is not enough, columns left out."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Shown]:
        widths = _widths(self.table, options.max_width)
        shown = Shown(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for number, width in widths.items():
            is_name = number < self.table.names
            heading = Text("\n".join(folded(self.table.headings[number], width)))
            shown.add_column(heading, justify="left" if is_name else "right", no_wrap=True, vertical="top")
        for row in self.table.rows:
            shown.add_row(*(Text("\n".join(folded(row[number], width))) for number, width in widths.items()))
        yield shown


def parts(tables: Sequence[Table]) -> list[Fitted | Text | str]:
    """Each table below its caption."""
    return [part for table in tables for part in (Text(table.caption, style="dim"), Fitted(table), "")]


def sentences(conclusion: Sequence[str]) -> list[str | Command]:
    """Sentences, and the commands that they end with."""
    return [part if isinstance(part, Command) else part.words for part in with_commands(conclusion)]


def _widths(table: Table, room: int) -> dict[int, int]:
    """{number of a column that is shown: letters}."""
    columns = dict(enumerate(zip(table.headings, *table.rows, strict=True)))
    whole = {k: max(map(len, column)) for k, column in columns.items()}
    # Numbers are never folded; their headings are, and names.
    least = {
        k: max(longest(heading), *(longest(cell) if k < table.names else len(cell) for cell in cells), 1)
        for k, (heading, *cells) in columns.items()
    }
    for number in range(len(table.spare) + 1):
        shown = [k for k in columns if table.headings[k] not in table.spare[:number]]
        free = room - _GAP * (len(shown) - 1) - sum(least[k] for k in shown)
        if free >= 0:
            break
    names, numbers = [k for k in shown if k < table.names], [k for k in shown if k >= table.names]
    if free < 0:
        least |= shares({k: least[k] for k in names}, free + sum(least[k] for k in names))
    widths = {k: least[k] for k in shown}
    for group in (names, numbers):
        more = shares({k: whole[k] - widths[k] for k in group}, free)
        widths |= {k: widths[k] + more[k] for k in group}
        free -= sum(more.values())
    return widths
