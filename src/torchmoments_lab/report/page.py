"""What a report says, as plain data, so that HTML, Markdown and the terminal say the same.

All text is as the user and the statistics have it; what renders a page escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torchmoments_lab.report.wording import typeset

if TYPE_CHECKING:
    from torchmoments_lab.report.drawing import Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph. A note is one that must not be overlooked."""

    words: str
    note: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """Cells of text. The first `names` columns name the row; the others are numbers, unless it says otherwise.

    `spare` are the headings of columns that are left out where there is no room, the first of them first.
    """

    caption: str
    headings: list[str]
    rows: list[list[str]]
    numbers: bool = True
    names: int = 1
    spare: tuple[str, ...] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A figure: its file's name without the ending, what it shows in words, and the drawing."""

    name: str
    description: str
    drawing: "Drawing"
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Command:
    """Lines for a terminal."""

    lines: str
    kind: ClassVar[str] = "command"


Block = Text | Table | Picture | Command


def with_commands(sentences: Sequence[str]) -> list[Text | Command]:
    """Sentences, and the commands that they end with on lines of their own, to be copied."""
    found: list[Text | Command] = []
    for sentence in sentences:
        words, start, arguments = sentence.partition(": torchmoments ")
        found.append(Text(typeset(f"{words}:" if start else words)))
        if start:
            found.append(Command(f"torchmoments {arguments}"))
    return found


@dataclass(frozen=True)
class Section:
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Page:
    """A report: what it is of, the conclusion in one sentence and in one word, and the sections."""

    title: str
    conclusion: str
    sections: list[Section]
    end: str
    outcome: str = "none"
    facts: list[str] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)

    @property
    def pictures(self) -> list[Picture]:
        return [block for section in self.sections for block in section.blocks if isinstance(block, Picture)]
