"""What all figures share: colours, sizes, and how they become files and parts of a page.

Drawn without pyplot: no window, no global state. Lengths are in points (1/72 inch).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion: distinct from each other and from the greys for every kind of colour vision.
INK, MUTED, LINE, ACCENT, HARM = "#1b1f24", "#5c6670", "#dfe3e8", "#0072b2", "#d55e00"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", HARM: "harm"}

WIDTH, SIZE = 518.0, 9.0
LETTER, BOLD_LETTER, TEXT_LINE = 0.58 * SIZE, 0.68 * SIZE, 12.0


@dataclass(frozen=True)
class Drawing:
    """A figure as files (png, svg), and as inline SVG whose colours are CSS variables and whose text is text."""

    png: bytes
    svg: bytes
    inline: str


def draw(name: str, figure: Callable[[], Figure]) -> Drawing:
    """Draw for files and for a page. The same input gives the same bytes.

    Args:
        name: starts the ids in the inline SVG, which shares a document with others.
        figure: makes the figure.
    """
    # A user's words are never formulas, and each picture stays one in an SVG.
    with rc_context(
        {"svg.hashsalt": "torchmoments", "font.size": SIZE, "text.parse_math": False, "image.composite_image": False}
    ):
        drawn = figure()
        png = _saved(drawn, format="png", dpi=180, facecolor="white", metadata={"Software": None})
        svg = _saved(drawn, format="svg", transparent=True, metadata={"Date": None})
        with rc_context({"svg.fonttype": "none"}):
            text = _saved(drawn, format="svg", transparent=True, metadata={"Date": None}).decode()
    return Drawing(png, svg, _inline(name, text))


def canvas(width: float, height: float) -> Figure:
    return Figure(figsize=(width / 72, height / 72))


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without a frame, in points from the lower left corner of the figure."""
    whole, high = 72 * figure.get_size_inches()
    axes = figure.add_axes((left / whole, bottom / high, width / whole, height / high))
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _saved(figure: Figure, **options: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, **options)
    return file.getvalue()


def _inline(name: str, text: str) -> str:
    """The figure for a place inside HTML: no size, ids of its own, and colours that follow the page."""
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Only inside tags: a user's words stand between them.
    text = re.sub(r"<[^>]+>", lambda tag: _themed(tag[0], name), text)
    head, _, rest = text.partition(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", head).replace("<svg", '<svg aria-hidden="true" focusable="false"')
    return f"{head}>{rest.strip()}"


def _themed(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", tag)
    for color, variable in _VARIABLES.items():
        tag = tag.replace(color, f"var(--{variable})")
    return tag
