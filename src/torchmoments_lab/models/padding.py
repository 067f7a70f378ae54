"""What a user's network says of the padding of its inputs."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.typed import counted, one_line

# For all places, or {place: its mask}.
Masks = Tensor | dict[str, Tensor | None]

_NAME = "padding_mask"


def padding(model: nn.Module, x: Tensor, places: Collection[str] | None = None) -> Masks | None:
    """The mask of real positions that a network with a method `padding_mask(x)` gives, see `Site.using`; None without.

    Args:
        places: where features are mixed. Masks of other places are left out, so that one network serves all methods.
            None: those of all places.

    Raises:
        ValueError: it gives something else, or fails.
    """
    of_model = getattr(model, _NAME, None)
    if not callable(of_model):
        return None
    try:
        with torch.no_grad(), exits_are_errors():
            mask: Any = of_model(x)
    except Exception as error:
        raise ValueError(
            f"{_NAME}(x) of the network needs to run on inputs {list(x.shape)}; it raised {type(error).__name__}: "
            f"{one_line(error)}."
        ) from error
    for given in _given(mask):
        if not isinstance(given, Tensor) or given.ndim < 2:
            what = f"one {list(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise ValueError(
                f"{_NAME}(x) of the network needs to give a tensor [B, *positions], True for real ones; got {what}."
            )
    if places is None or isinstance(mask, Tensor):
        whole: Masks = mask
        return whole
    if any(place not in mask for place in places):
        needed, got = (", ".join(map(repr, names)) for names in (places, mask))
        raise ValueError(f"{_NAME}(x) of the network needs to give a mask for each place, {needed}; got {got}.")
    return {place: mask[place] for place in places}


def described(model: nn.Module, mask: Masks | None) -> str | None:
    """What padding is: "left out of moments: ...", or not; None if there is none, nor seems to be.

    Args:
        mask: what the network's method gave for a few inputs, of all places.

    Raises:
        ValueError: numbers other than 0 and 1, or no position is real.
    """
    if mask is None:
        name = next(_alike(model), None)
        if name is None:
            return None
        return f"not left out of moments: the network has {name}, but is asked for a method {_NAME}(x)"
    masks = _given(mask)
    if not masks:
        return None
    for tensor in masks:
        if not ((tensor == 0) | (tensor == 1)).all():
            raise ValueError(
                f"{_NAME}(x) of the network needs to give True or 1 for real positions, and False or 0 for padding; "
                f"got numbers from {tensor.min():g} to {tensor.max():g}."
            )
        if not tensor.any():
            raise ValueError(
                f"{_NAME}(x) of the network needs to give True for real positions; of the first inputs none is. Did "
                "you mean its opposite?"
            )
    real = " and ".join(dict.fromkeys(f"{100 * float(tensor.float().mean()):.0f}%" for tensor in masks))
    empty = max(int((~tensor.bool().flatten(1).any(1)).sum()) for tensor in masks)
    without = f"; {counted(empty, 'input')} without any" if empty else ""
    return f"left out of moments: of the first inputs {real} of the positions are real{without}"


def _given(mask: Any) -> list[Any]:
    """The masks, whatever they are, without the places that have none."""
    return [of for of in mask.values() if of is not None] if isinstance(mask, dict) else [mask]


def _alike(model: nn.Module) -> Iterator[str]:
    """What may be meant to be the method: a slip of the pen, no method, or that of a part."""
    if getattr(model, _NAME, None) is not None:
        yield f"a {_NAME} that is no method"
    own = [name for name in dir(type(model)) if not hasattr(nn.Module, name) and callable(getattr(type(model), name))]
    yield from (f"a method {name}" for name in get_close_matches(_NAME, own, n=1, cutoff=0.8))
    parts = (name for name, part in model.named_modules() if name and callable(getattr(part, _NAME, None)))
    yield from (f"{name}.{_NAME}" for name in parts)
