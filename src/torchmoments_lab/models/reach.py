"""How far mixing at a place reaches: the outputs of the modules after it, with and without.

A norm may come right before the place, so that the moments are all equal, or after it, and undo what was mixed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.models.padding import padding

# The least that counts. If mixing does nothing, rounding and the eps of norms change 0.0015 or less; if it does,
# mostly over 0.05.
LEAST = 3e-3


def changes_after(
    model: nn.Module,
    place: str,
    x: Tensor,
    mix: Callable[[Tensor, Tensor | None], Tensor],
    *,
    channel_dim: int | None = None,
    prefix_tokens: int | None = None,
) -> list[float] | None:
    """How much each module after a place, in the order in which they end, changes its output for mixed features.

    Args:
        model: any model. Its mode, buffers and parameters stay as they are.
        x: two images or more as the model gets them.
        mix: of features [B, C, *positions] and the mask of their padding or None; the first call of the place is mixed.
        channel_dim, prefix_tokens: see `torchmoments.attach`.

    Returns:
        In units of how much images differ there. None if it cannot be told.
    """
    layout = tm.layout_of(model, place, channel_dim=channel_dim, prefix_tokens=prefix_tokens)
    number = len(x)
    # Every image twice: with and without mixing in one forward.
    twice = torch.cat([x, x])
    masks = padding(model, twice, [place])
    mask = masks.get(place) if isinstance(masks, dict) else masks
    changes: list[float] = []
    is_after = False

    def mix_half(view: Tensor, mask: Tensor | None) -> Tensor:
        return torch.cat([mix(view[:number], None if mask is None else mask[:number]), view[number:]])

    def on_output(_module: nn.Module, _arguments: Any, output: Tensor) -> Tensor | None:
        return None if is_after else layout.apply(mix_half, output, mask)

    def end(name: str, output: Tensor) -> None:
        nonlocal is_after
        if is_after and output.ndim and output.shape[0] % (2 * number) == 0:
            mixed, plain = output.reshape(2 * number, -1).float().chunk(2)
            changes.append(float((mixed - plain).norm() / (plain.roll(1, 0) - plain).norm()))
        is_after |= name == place

    handle = model.get_submodule(place).register_forward_hook(on_output)
    try:
        with watched(model, lambda name: None, end):
            model(twice)
    except (ValueError, RuntimeError):
        # Attaching the method will say what is wrong.
        return None
    finally:
        handle.remove()
    # A last layer that starts at zero tells nothing.
    return list(filter(math.isfinite, changes)) or None


@contextmanager
def watched(model: nn.Module, start: Callable[[str], object], end: Callable[[str, Tensor], object]) -> Iterator[None]:
    """Eval mode without gradient; `start(name)` before each module runs, `end(name, output)` after, if a tensor."""
    modes = {module: module.training for module in model.modules()}
    handles = []
    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda m, a, name=name: (start(name), None)[1]))
            handles.append(
                module.register_forward_hook(
                    lambda m, a, out, name=name: (end(name, out) if isinstance(out, Tensor) else None, None)[1]
                )
            )
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
