"""What a report says, as plain data, so that HTML and Markdown say the same.

All text is as the user and the statistics have it; whoever renders a page escapes it.
"""

from dataclasses import dataclass
from typing import ClassVar

from torchmoments_lab.report.figures import Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph. A note is one that must not be overlooked."""

    words: str
    note: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """Cells of text. The first column names the row."""

    caption: str
    headings: list[str]
    rows: list[list[str]]
    numbers: bool = True
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A figure: its file's name without the ending, what it shows in words, and the drawing."""

    name: str
    description: str
    drawing: Drawing
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Command:
    """Lines for a terminal."""

    lines: str
    kind: ClassVar[str] = "command"


Block = Text | Table | Picture | Command


@dataclass(frozen=True)
class Section:
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Page:
    """A report: what was compared, the conclusion in one sentence and in one word, and the sections."""

    title: str
    conclusion: str
    outcome: str
    facts: list[str]
    notes: list[Text]
    sections: list[Section]
    end: str
