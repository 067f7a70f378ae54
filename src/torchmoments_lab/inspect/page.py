"""The pictures on one page that opens offline."""

import base64
from collections.abc import Mapping, Sequence

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.report.render import template

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
        "their first three principal components. Images with such features, where they are shown, were found by "
        "gradient descent.",
    ),
}


def page(config: TrainConfig, images: Sequence[str], pictures: Mapping[str, bytes]) -> str:
    """HTML without scripts and without anything from elsewhere.

    Args:
        images: as the user named them.
        pictures: {KIND-STATE: PNG}, KIND one of moments and exchange.
    """
    sections = []
    for name, content in pictures.items():
        kind, _, state = name.partition("-")
        title, words = _WORDS[kind]
        sections.append(
            {
                "title": f"{title}: {state} network",
                "words": words,
                "source": "data:image/png;base64," + base64.b64encode(content).decode(),
            }
        )
    return template("inspect", "inspect.html").render(model=config.model, images=images, sections=sections)
