"""The pictures: moment maps through the layers, and the exchange of two images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from torchmoments_lab.inspect.maps import Layer
from torchmoments_lab.report.figures import INK, MUTED

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
    rows: list[list[Tile]] = []
    for number, image in enumerate(images):
        titles = [layer.name if number == 0 else "" for layer in layers]
        sizes = [f"{layer.mean.shape[-2]} x {layer.mean.shape[-1]}" if number == 0 else "" for layer in layers]
        heads = ["\n".join(filter(None, pair)) for pair in zip(titles, sizes, strict=True)]
        means = [Tile(layer.mean[number], head, _MEAN) for layer, head in zip(layers, heads, strict=True)]
        stds = [Tile(layer.std[number], "", _STD) for layer in layers]
        rows += [[Tile(image), *means], [Tile(None), *stds]]
    return _grid(rows, [("mean", "std")[number % 2] for number in range(len(rows))])


def exchanged(rows: Sequence[tuple[str, Sequence[Tile]]]) -> Figure:
    """Rows of pictures with a word before each."""
    return _grid([list(tiles) for _, tiles in rows], [word for word, _ in rows])


def _grid(rows: Sequence[Sequence[Tile]], words: Sequence[str]) -> Figure:
    columns = max(len(row) for row in rows)
    heads = [_HEAD + 4 * any("\n" in tile.title for tile in row) if any(t.title for t in row) else 0.0 for row in rows]
    width = _LABEL + columns * (_TILE + _GAP)
    height = sum(heads) + len(rows) * (_TILE + _GAP)
    figure = Figure(figsize=(width / 72, height / 72))
    top = height
    for row, head, word in zip(rows, heads, words, strict=True):
        top -= head + _TILE
        for column, tile in enumerate(row):
            if tile.picture is None:
                continue
            left = _LABEL + column * (_TILE + _GAP)
            axes = figure.add_axes((left / width, top / height, _TILE / width, _TILE / height))
            _draw(axes, tile)
        middle = (top + _TILE / 2) / height
        figure.text((_LABEL - 8) / width, middle, word, rotation=90, ha="right", va="center", color=MUTED, fontsize=8)
        top -= _GAP
    return figure


def _draw(axes: Axes, tile: Tile) -> None:
    assert tile.picture is not None
    picture = tile.picture.detach().float().cpu()
    if picture.ndim == 3:
        colors = picture.expand(3, -1, -1) if len(picture) == 1 else picture
        axes.imshow(colors.movedim(0, -1).clamp(0, 1).numpy(), interpolation="nearest")
    else:
        low, high = np.quantile(picture.numpy(), [0.01, 0.99])
        axes.imshow(picture.numpy(), cmap=tile.colors, vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    axes.set_axis_off()
    if tile.title:
        axes.set_title(tile.title, color=INK, fontsize=7.5, pad=3, linespacing=1.1)


def stretched(pixels: Tensor) -> Tensor:
    """Values of any range as pixels from 0 to 1: the middle 98% of them, all channels alike."""
    low, high = torch.quantile(pixels.flatten()[:1_000_000], torch.tensor([0.01, 0.99]))
    shown: Tensor = ((pixels - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    return shown
