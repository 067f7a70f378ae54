"""Moments through the layers of a network, and features that wear another image's moments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.models.place import default_place
from torchmoments_lab.probe.views import Source


@dataclass(frozen=True)
class Layer:
    """The moments over the channels at a layer, [B, H, W] each."""

    name: str
    mean: Tensor
    std: Tensor


def layers_to_draw(model: nn.Module, x: Tensor, at: Sequence[str]) -> list[str]:
    """The names asked for; otherwise the place after the stem and the last module of each resolution.

    Raises:
        ValueError: there is no such module, or no module gives features [B, C, H, W].
    """
    if at:
        return list(tm.find_modules(model, at))
    shapes = {place.name: place.shape for place in tm.places(model, x) if place.shape and len(place.shape) == 4}
    last: dict[int, str] = {}
    for name, shape in shapes.items():
        if shape[-1] > 1:
            last[shape[-1]] = name
    try:
        stem = {default_place(model, x)}
    except ValueError:
        stem = set()
    chosen = [name for name in shapes if name in stem | set(last.values())]
    if not chosen:
        raise ValueError(
            f"no module of {type(model).__name__} gives features [B, C, H, W], so there are no maps to draw."
        )
    return chosen


def layers(model: nn.Module, x: Tensor, names: Sequence[str]) -> list[Layer]:
    """The moments of images x [B, C, H, W] at each layer."""
    found = []
    for name in names:
        features = channel_first(model, x, name)
        own = tm.moments(features, "pono")
        found.append(Layer(name, own.mean.squeeze(1), own.std.squeeze(1)))
    return found


def channel_first(model: nn.Module, x: Tensor, name: str) -> Tensor:
    """The features [B, C, H, W] at a layer.

    Raises:
        ValueError: they are no maps.
    """
    features = Source(model, name)(x)
    features = features.movedim(tm.layout_of(model, name).channel_axis(features), 1)
    if features.ndim != 4:
        raise ValueError(
            f"a map needs features [B, C, H, W]; got {list(features.shape)} at {name!r}. Choose another --at."
        )
    return features


def as_colors(features: Tensor, basis_of: Tensor) -> Tensor:
    """Features [B, C, H, W] as colours [B, 3, H, W]: their first three principal components over all positions.

    Args:
        basis_of: features [B, C, H, W] whose components and whose range are taken; what is outside the range is cut.
    """
    known = basis_of.movedim(1, -1).flatten(0, 2)
    center = known.mean(0)
    _, _, directions = torch.linalg.svd((known - center)[:: max(1, len(known) // 20000)], full_matrices=False)
    chosen = directions[:3]
    # The sign of a component means nothing: brighter is more.
    chosen = chosen * torch.where(chosen.sum(1, keepdim=True) < 0, -1.0, 1.0)
    own = (known - center) @ chosen.T
    low, high = own.quantile(0.01, 0), own.quantile(0.99, 0)
    shown = (features.movedim(1, -1) - center) @ chosen.T
    shown = ((shown - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).movedim(-1, 1)
    colors: Tensor = shown if shown.shape[1] == 3 else shown[:, :1].expand(-1, 3, -1, -1)
    return colors


def images_of(
    features_of: Callable[[Tensor], Tensor], wanted: Tensor, shape: Sequence[int], steps: int = 100
) -> Tensor:
    """Pixels [B, C, H, W] from 0 to 1 whose features are nearly `wanted` [B, ...]: gradient descent on the pixels.

    Starts from grey, and minimizes for each image the mean squared difference of the features in units of their
    variance, plus 0.1 times the mean absolute difference of neighbouring pixels. Such an image need not exist.

    Args:
        features_of: gives features like `wanted` of pixels, with gradient.
        shape: [C, H, W] of an image.
    """
    logit = torch.zeros(len(wanted), *shape, requires_grad=True)
    optimizer = torch.optim.Adam([logit], 0.1)
    scale = wanted.flatten(1).var(1).clamp_min(1e-6)
    for _ in range(steps):
        pixels = logit.sigmoid()
        miss = ((features_of(pixels) - wanted).square().flatten(1).mean(1) / scale).sum()
        rough = sum(pixels.diff(dim=dim).abs().flatten(1).mean(1).sum() for dim in (-1, -2))
        optimizer.zero_grad()
        torch.autograd.backward(miss + 0.1 * rough)
        optimizer.step()
    return logit.detach().sigmoid()
