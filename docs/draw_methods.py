"""Draw the pictures of docs/methods: what each method does to the features of two real photographs.

    python docs/draw_methods.py

The features are the photographs themselves: each block of 4 x 4 pixels becomes one position with 48 channels. This can
be inverted, so changed features can be displayed as images. The methods are those of the library, with fixed draws.
Needs scikit-learn (which includes both photographs), matplotlib and Pillow.
"""

import argparse
import dataclasses
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

import torchmoments as tm
from torchmoments.mixers.crossnorm import box

BLOCK = 4
SIDE = 192
# In points; panels are 126 wide. On a telephone a row of six is half as large.
TITLE = 13
SWAP = torch.tensor([1, 0])
Panel = tuple[str, Tensor]


def photographs() -> Tensor:
    """Return a palace and a flower, [2, 3, SIDE, SIDE], with values from 0 to 1."""
    found = []
    for name, left in (("china.jpg", 160), ("flower.jpg", 130)):
        pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float() / 255
        square = pixels[..., left : left + pixels.shape[2]]
        found.append(F.interpolate(square, size=(SIDE, SIDE), mode="bilinear", antialias=True))
    return torch.cat(found)


def to_features(images: Tensor) -> Tensor:
    return F.pixel_unshuffle(images, BLOCK)


def to_images(features: Tensor) -> Tensor:
    return F.pixel_shuffle(features, BLOCK).clamp(0, 1)


def draw_panels(panels: list[Panel], columns: int) -> tuple[Figure, np.ndarray]:
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(1.75 * columns, 2.0 * rows), layout="constrained", squeeze=False
    )
    for axes, panel in zip(grid.flat, [*panels, *[None] * (rows * columns - len(panels))], strict=True):
        axes.axis("off")
        if panel is not None:
            _show(axes, *panel)
    return figure, grid


def _show(axes: Axes, title: str, image: Tensor) -> None:
    """Show an image [3, H, W], or a map [1, h, w] in greys scaled to its range."""
    if len(image) == 1:
        axes.imshow(image[0], cmap="gray")
    else:
        axes.imshow(image.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    axes.set_title(title, fontsize=TITLE)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG with 96 colours, under a temporary name first."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    temporary = path.with_suffix(".tmp")
    Image.fromarray(pixels).quantize(96, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)
    temporary.replace(path)
    plt.close(figure)


def moex(x: Tensor, h: Tensor) -> Figure:
    normalized, moments = tm.normalize(h)
    changed = to_images(tm.MoEx()(h, tm.Draw(SWAP)))
    flat = to_images(normalized * 0.15 + 0.5)
    panels = []
    for sample, other in ((0, 1), (1, 0)):
        panels += [
            ("x", x[sample]),
            ("mean (pono)", moments.mean[sample]),
            ("std (pono)", moments.std[sample]),
            ("normalized", flat[sample]),
            ("moments of", x[other]),
            ("out", changed[sample]),
        ]
    return draw_panels(panels, 6)[0]


def mixstyle(x: Tensor, h: Tensor) -> Figure:
    weights = (0.75, 0.5, 0.25, 0.0)
    panels = []
    for sample, other in ((0, 1), (1, 0)):
        panels.append(("x (w = 1)", x[sample]))
        for weight in weights:
            out = tm.MixStyle()(h, tm.Draw(SWAP, moment_weight=torch.full((2,), weight)))
            panels.append((f"w = {weight:g}", to_images(out)[sample]))
        panels.append(("partner", x[other]))
    return draw_panels(panels, 6)[0]


def efdmix(x: Tensor, h: Tensor) -> Figure:
    draw = tm.Draw(SWAP, moment_weight=torch.zeros(2))
    out, exchanged = tm.EFDMix()(h, draw), tm.CrossNorm()(h, draw)
    panels = [
        ("x", x[0]),
        ("partner", x[1]),
        ("moments swapped", to_images(exchanged)[0]),
        ("EFDMix", to_images(out)[0]),
    ]
    figure, grid = draw_panels([*panels, panels[0]], 5)
    axes = grid[0, 4]
    axes.clear()
    axes.set_aspect("auto")
    axes.set_xlim(-0.2, 1.2)
    for name, values, style in (("partner", h[1], "-"), ("moments", exchanged[0], ":"), ("EFDMix", out[0], "--")):
        axes.plot(*_histogram(values[0]), style, label=name, linewidth=1)
    axes.set_title("channel 0", fontsize=TITLE)
    axes.set_yticks([])
    axes.tick_params(labelsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _histogram(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    counts, edges = np.histogram(values.numpy(), bins=40, range=(-0.2, 1.2))
    return (edges[1:] + edges[:-1]) / 2, counts


def dsu(x: Tensor, h: Tensor) -> Figure:
    # The batch is four quarters of each photograph, so that its moments vary.
    quarters = [h[:, :, i : i + 24, j : j + 24] for i in (0, 24) for j in (0, 24)]
    batch = torch.cat([F.interpolate(quarter, size=48) for quarter in quarters])
    batch[:2] = h
    mixer = tm.DSU(p=1)
    generator = torch.Generator().manual_seed(2)
    panels: list[Panel] = []
    for sample in (0, 1):
        panels.append(("x", x[sample]))
        for number in range(1, 6):
            draw = mixer.draw(len(batch), generator=generator)
            panels.append((f"draw {number}", to_images(mixer(batch, draw))[sample]))
    return draw_panels(panels, 6)[0]


def crossnorm(x: Tensor, h: Tensor) -> Figure:
    # One box for the content and one for the style: the area, then the centre's row and column, as fractions of the
    # map.
    boxes = torch.zeros(2, 32, 4)
    boxes[0, 0], boxes[1, 0] = torch.tensor([0.35, 0.35, 0.5, 0]), torch.tensor([0.3, 0.55, 0.5, 0])
    positions = (h.shape[2], h.shape[3])
    panels, framed = [("x", x[0]), ("partner", x[1])], []
    for crop in (None, "style", "content", "both"):
        mixer = tm.CrossNorm(p=1, crop=crop)
        draw = mixer.draw(2, generator=torch.Generator().manual_seed(0))
        assert draw is not None
        draw = dataclasses.replace(draw, partner=SWAP, **({} if crop is None else {"boxes": boxes}))
        panels.append((f"crop={crop!r}", to_images(mixer(h, draw))[0]))
        framed.append(crop)
    figure, grid = draw_panels(panels, 6)
    _frame(grid[0, 1], box(boxes[1], positions))
    for axes, crop in zip(grid[0, 2:], framed, strict=True):
        if crop in ("content", "both"):
            _frame(axes, box(boxes[0], positions))
    return figure


def _frame(axes: Axes, mask: Tensor) -> None:
    rows, columns = (mask.any(axis).nonzero().flatten() * BLOCK for axis in (1, 0))
    corner = (int(columns[0]), int(rows[0]))
    size = (int(columns[-1] - columns[0]) + BLOCK, int(rows[-1] - rows[0]) + BLOCK)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="yellow", linewidth=1.5))


def padain(x: Tensor, h: Tensor) -> Figure:
    changed = to_images(tm.PermutedAdaIN()(h, tm.Draw(SWAP)))
    _, moments = tm.normalize(h, "in")
    panels = []
    for sample in (0, 1):
        panels += [
            ("x", x[sample]),
            ("channels' mean", F.pixel_shuffle(moments.mean, BLOCK)[sample]),
            ("channels' std", F.pixel_shuffle(moments.std, BLOCK)[sample] * 2),
            ("out", changed[sample]),
        ]
    return draw_panels(panels, 4)[0]


def family(x: Tensor, h: Tensor) -> Figure:
    half = tm.Draw(SWAP, moment_weight=torch.full((2,), 0.3))
    batch = torch.cat([h, h.flip(3), h.roll(7, 1), h.mean((2, 3), keepdim=True) + 0.5 * h])
    noise = tm.DSU(p=1).draw(len(batch), generator=torch.Generator().manual_seed(5))
    outs = {
        "MoEx (pono)": tm.MoEx()(h, tm.Draw(SWAP)),
        "MoEx (in),\nCrossNorm": tm.CrossNorm()(h, tm.Draw(SWAP)),
        "MixStyle": tm.MixStyle()(h, half),
        "EFDMix": tm.EFDMix()(h, half),
        "DSU": tm.DSU()(batch, noise)[:2],
    }
    panels = []
    for sample in (0, 1):
        panels.append(("x", x[sample]))
        panels += [(name, to_images(out)[sample]) for name, out in outs.items()]
    return draw_panels(panels, 6)[0]


PICTURES = [moex, mixstyle, efdmix, dsu, crossnorm, padain, family]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "methods")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    x = photographs()
    h = to_features(x)
    for picture in PICTURES:
        save(picture(x, h), arguments.out / f"{picture.__name__}.png")


if __name__ == "__main__":
    main()
