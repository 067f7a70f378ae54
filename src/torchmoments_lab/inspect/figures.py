"""The pictures: moment maps through the layers, and the exchange of two images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from torchmoments_lab.inspect.maps import Layer
from torchmoments_lab.report.drawing import INK, MUTED, axes_at, canvas

# Points.
_TILE, _GAP, _LABEL, _HEAD = 92.0, 6.0, 42.0, 20.0
_MEAN, _STD = "magma", "viridis"


@dataclass(frozen=True)
class Tile:
    """One picture: [3, H, W] or [1, H, W] colours from 0 to 1, or a map [H, W]; its title, and a map's colours."""

    picture: Tensor | None
    title: str = ""
    colors: str = "gray"


def moment_maps(images: Tensor, layers: Sequence[Layer]) -> Figure:
    """For each image [C, H, W] two rows: means and standard deviations over the channels, layer by layer.

    Each map has its own scale, from its 1st to its 99th percentile.
    """
    rows: list[tuple[str, list[Tile]]] = []
    heads = [f"{layer.name}\n{layer.mean.shape[-2]} x {layer.mean.shape[-1]}" for layer in layers]
    for number, image in enumerate(images):
        titles = heads if number == 0 else [""] * len(layers)
        means = [Tile(layer.mean[number], title, _MEAN) for layer, title in zip(layers, titles, strict=True)]
        stds = [Tile(layer.std[number], "", _STD) for layer in layers]
        rows += [("mean", [Tile(image), *means]), ("std", [Tile(None), *stds])]
    return tiles(rows)


def tiles(rows: Sequence[tuple[str, Sequence[Tile]]]) -> Figure:
    """Rows of pictures with a word before each."""
    columns = max(len(row) for _, row in rows)
    lines = [max((len(tile.title.split("\n")) for tile in row if tile.title), default=0) for _, row in rows]
    heads = [_HEAD + 4 * (number > 1) if number else 0.0 for number in lines]
    height = sum(heads) + len(rows) * (_TILE + _GAP)
    figure = canvas(_LABEL + columns * (_TILE + _GAP), height)
    width, top = 72 * figure.get_figwidth(), height
    for (word, row), head in zip(rows, heads, strict=True):
        top -= head + _TILE
        for column, tile in enumerate(row):
            if tile.picture is not None:
                _draw(axes_at(figure, _LABEL + column * (_TILE + _GAP), top, _TILE, _TILE), tile.picture, tile)
        style: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "center", "color": MUTED, "fontsize": 8}
        figure.text((_LABEL - 8) / width, (top + _TILE / 2) / height, word, **style)
        top -= _GAP
    return figure


def _draw(axes: Axes, picture: Tensor, tile: Tile) -> None:
    values = picture.detach().float().cpu()
    # "none": the pixels themselves, also in an SVG.
    if values.ndim == 3:
        colors = values.expand(3, -1, -1) if len(values) == 1 else values
        axes.imshow(colors.movedim(0, -1).clamp(0, 1).numpy(), interpolation="none")
    else:
        low, high = np.quantile(values.numpy(), [0.01, 0.99])
        axes.imshow(values.numpy(), cmap=tile.colors, vmin=low, vmax=max(high, low + 1e-6), interpolation="none")
    axes.set_axis_off()
    if tile.title:
        axes.set_title(tile.title, color=INK, fontsize=7.5, pad=3, linespacing=1.1)


def stretched(pixels: Tensor) -> Tensor:
    """Values of any range as pixels from 0 to 1: the middle 98% of them, all channels alike."""
    low, high = torch.quantile(pixels.flatten()[:1_000_000], torch.tensor([0.01, 0.99]))
    shown: Tensor = ((pixels - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    return shown
