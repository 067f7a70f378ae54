"""What the figures of a report share: colours, sizes, and how they become files and parts of a page.

Drawn without pyplot: no window, no global state. Lengths are in points (1/72 inch), so that the same drawing is made
for a page and, narrower, for a phone.
"""

import re
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO

from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito's blue: distinct from the greys for every kind of colour vision.
INK, MUTED, LINE, ACCENT = "#1b1f24", "#5c6670", "#dfe3e8", "#0072b2"
WIDE, NARROW = 518.0, 262.0

SIZE, EDGE = 9.0, 1.0
LETTER, BOLD_LETTER, TEXT_LINE = 0.58 * SIZE, 0.68 * SIZE, 12.0


@dataclass(frozen=True)
class Drawing:
    """A figure as files (png, svg) and as two inline SVGs whose colours are CSS variables and whose text is text."""

    png: bytes
    svg: bytes
    wide: str
    narrow: str


def draw(name: str, figure: Callable[[float], Figure]) -> Drawing:
    """Draw `figure(width)` for files and for a page. The same input gives the same bytes.

    Args:
        name: starts the ids in the inline SVGs, which share a document.
        figure: makes the figure for a width in points.
    """
    with _style():
        wide, narrow = figure(WIDE), figure(NARROW)
        png, svg = _saved(wide, "png"), _saved(wide, "svg")
        with rc_context({"svg.fonttype": "none"}):
            return Drawing(png, svg, _inline(f"{name}-wide", wide), _inline(f"{name}-narrow", narrow))


def as_files(figure: Callable[[], Figure]) -> dict[str, bytes]:
    """Draw a figure for files alone: {"png": ..., "svg": ...}."""
    with _style():
        drawn = figure()
        return {kind: _saved(drawn, kind) for kind in ("png", "svg")}


def _style() -> AbstractContextManager[None]:
    # A user's words are never formulas.
    return rc_context({"svg.hashsalt": "torchmoments", "font.size": SIZE, "text.parse_math": False})


def wrapped(word: str, letters: int) -> list[str]:
    """A method's word in lines of at most so many letters, broken after an option where possible."""
    spaced = word.replace(",", ", ").replace("+", "+ ")
    lines = textwrap.wrap(spaced, max(8, letters), break_on_hyphens=False)
    return [line.replace(", ", ",").replace("+ ", "+") for line in lines] or [""]


def _saved(figure: Figure, kind: str) -> bytes:
    file = BytesIO()
    if kind == "png":
        figure.savefig(file, format="png", dpi=180, facecolor="white", metadata={"Software": None})
    else:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _inline(name: str, figure: Figure) -> str:
    """The figure for a place inside HTML: no size, ids of its own, and colours that follow the page."""
    text = _saved(figure, "svg").decode()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Only inside tags: a user's words stand between them.
    text = re.sub(r"<[^>]+>", lambda tag: _themed(tag[0], name), text)
    size = r' (?:width|height)="[^"]*"'
    head, _, rest = text.partition(">")
    return re.sub(size, "", head).replace("<svg", '<svg aria-hidden="true" focusable="false"') + ">" + rest.strip()


def _themed(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", tag)
    for color, variable in ((INK, "ink"), (MUTED, "muted"), (LINE, "line"), (ACCENT, "accent")):
        tag = tag.replace(color, f"var(--{variable})")
    return tag
