"""A page as HTML in one file, and as Markdown. Both escape every word; neither adds any."""

import re
from functools import lru_cache
from typing import assert_never

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from torchmoments_lab.report.page import Block, Command, Page, Picture, Table, Text
from torchmoments_lab.report.wording import pieces
from torchmoments_lab.typed import visible


def html(page: Page) -> str:
    """One file that needs no other and no network, and runs no script."""
    return visible(_template().render(page=page, inline=Markup, breakable=_breakable))


def _breakable(words: str) -> Markup:
    """Words of which long ones, as a method spec is, may go on in the next line between options."""
    short, long = re.split(r"\S{12,}", words), re.findall(r"\S{12,}", words)
    broken = [Markup("<wbr>").join(pieces(word)) for word in long]
    return Markup("").join(part for pair in zip(short, [*broken, ""], strict=True) for part in pair)


def markdown(page: Page) -> str:
    """GitHub-flavoured Markdown; figures are the files beside it."""
    parts = [f"# {escape(page.title)}", f"**{escape(page.conclusion)}**", line(" · ".join(page.facts))]
    parts += [_block(note) for note in page.notes]
    for section in page.sections:
        parts += [f"## {escape(section.title)}", *map(_block, section.blocks)]
    return visible("\n\n".join([*parts, "---", line(page.end)]) + "\n")


def escape(words: str) -> str:
    """Words that Markdown shows as they are, on one line."""
    return re.sub(r"([\\`*_\[\]<>|~$&#!])", r"\\\1", " ".join(words.split()))


def line(words: str) -> str:
    """The same where they start a line, and could start a list, a heading or a rule."""
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", escape(words))


def _block(block: Block) -> str:
    match block:
        case Text(words, note):
            return ("> " if note else "") + line(words)
        case Table():
            return table(block)
        case Picture(name, description):
            return f"![{escape(description)}]({name}.png)"
        case Command(lines):
            fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", lines)), 3)
            return f"{fence}sh\n{lines}\n{fence}"
    assert_never(block)


def table(table: Table) -> str:
    """A table in Markdown, its caption above it."""
    numbers = len(table.headings) - table.names
    rule = [*["---"] * table.names, *["---:" if table.numbers else "---"] * numbers]
    rows = [[escape(cell) for cell in row] for row in (table.headings, *table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
    return f"{line(table.caption)}:\n\n" + "\n".join(lines)


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("torchmoments_lab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
