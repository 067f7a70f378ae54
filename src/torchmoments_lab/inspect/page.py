"""The pictures on one page that opens offline."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from torchmoments_lab.report import render
from torchmoments_lab.report.drawing import Drawing
from torchmoments_lab.report.page import Page, Picture, Section, Text

_WORDS = {
    "moments": (
        "Moments, layer by layer",
        "Mean and standard deviation over the channels (pono) at each position. They keep the structure of the image. "
        "Each map has its own scale.",
    ),
    "exchange": (
        "The exchange",
        "A with the moments of B. pono are the moments over the channels at each position: they carry B's structure. "
        "in are those over the positions of each channel: they carry B's colours and style. Features are shown as "
        "their first three principal components. Images with such features, if they are shown, were found by "
        "gradient descent.",
    ),
}


GREY = (
    "The network gets grey images. In pixels whose channels are equal, moments over the channels (pono) mean nothing; "
    "the exchange is shown in the features of the first layers."
)


def page(model: str, images: Sequence[str], drawings: Mapping[str, Drawing], *, is_grey: bool = False) -> str:
    """HTML without scripts and without anything from elsewhere.

    Args:
        images: as the user named them.
        drawings: {KIND-STATE: drawing}, KIND one of moments and exchange.
    """
    sections = []
    for name, drawing in drawings.items():
        kind, _, state = name.partition("-")
        title, words = _WORDS[kind]
        heading = f"{title}: {state} network"
        sections.append(Section(heading, [Text(words), Picture(name, heading, drawing)]))
    return render.html(
        Page(
            title=f"Moments of {', '.join(PurePath(image).name for image in images)} in {model}",
            conclusion="What moments show of an image",
            notes=[Text(GREY, note=True)] if is_grey else [],
            sections=sections,
            end="Made by torchmoments inspect.",
        )
    )
