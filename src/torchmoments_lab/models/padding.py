"""What a user's network says of the padding of its inputs."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

# For all places, or {place: its mask}.
Masks = Tensor | dict[str, Tensor | None]

_NAME = "padding_mask"


def padding(model: nn.Module, x: Tensor) -> Masks | None:
    """The mask of real positions that a network with a method `padding_mask(x)` gives, see `Site.using`; None without.

    Raises:
        ValueError: it gives something else, or fails.
    """
    of_model = getattr(model, _NAME, None)
    if not callable(of_model):
        return None
    with torch.no_grad():
        mask: Any = of_model(x)
    if not isinstance(mask, Tensor | dict):
        raise ValueError(
            f"padding_mask(x) of the network needs to give a tensor [B, *positions], True for real ones; got a "
            f"{type(mask).__name__}."
        )
    return mask


def described(model: nn.Module, mask: Masks | None) -> list[str]:
    """What is left out of moments, in sentences; none if no padding is, nor seems meant to be.

    Args:
        mask: what `padding` gave for a few inputs.

    Raises:
        ValueError: no position is real.
    """
    if mask is None:
        return [
            f"Padding is not left out of moments: the network has {name}(x), but is asked for {_NAME}(x)."
            for name in _alike(model)
        ]
    masks = [mask] if isinstance(mask, Tensor) else [tensor for tensor in mask.values() if tensor is not None]
    shares = [f"{100 * float(tensor.bool().float().mean()):.0f}%" for tensor in masks]
    if not all(tensor.any() for tensor in masks):
        raise ValueError(
            f"{_NAME}(x) of the network needs to give True for real positions; of the first inputs none is. Did you "
            "mean its opposite?"
        )
    real = " and ".join(dict.fromkeys(shares))
    return [f"Padding is left out of moments: of the first inputs {real} of the positions are real."] if shares else []


def _alike(model: nn.Module) -> Sequence[str]:
    """A method of the network whose name may be a slip of the pen."""
    own = [name for name in dir(type(model)) if not hasattr(nn.Module, name) and callable(getattr(type(model), name))]
    return get_close_matches(_NAME, own, n=1, cutoff=0.85)
