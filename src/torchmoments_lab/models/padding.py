"""What a user's network says of the padding of its inputs."""

from typing import Any

import torch
from torch import Tensor, nn

# For all places, or {place: its mask}.
Masks = Tensor | dict[str, Tensor | None]


def padding(model: nn.Module, x: Tensor) -> Masks | None:
    """The mask of real positions that a network with a method `padding_mask(x)` gives, see `Site.using`; None without.

    Raises:
        ValueError: it gives something else, or fails.
    """
    of_model = getattr(model, "padding_mask", None)
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
