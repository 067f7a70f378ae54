"""A network tried on a few images: whatever is wrong with it, in one sentence."""

import inspect
from typing import Any

from torch import Tensor, nn


def output_of(network: nn.Module, x: Tensor, name: str) -> Any:
    """What the network gives for the images, in the mode that it is in.

    Args:
        name: what a message calls it.

    Raises:
        ValueError: it does not take images alone, or it raises anything.
    """
    _check_signature(network, x, name)
    try:
        return network(x)
    except Exception as error:
        raise does_not_run(name, x, error) from error


def does_not_run(name: str, x: Tensor, error: Exception) -> ValueError:
    """The error for a network that raised one."""
    return ValueError(
        f"model {name!r} needs to run on images {list(x.shape[1:])}; it raised {type(error).__name__}: "
        f"{' '.join(str(error).split())[:300]}. Choose another --image-size or --model."
    )


def _check_signature(network: nn.Module, x: Tensor, name: str) -> None:
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(x)
    except TypeError as error:
        raise ValueError(
            f"model {name!r} needs a forward(images) without other inputs; got forward{signature} ({error}). "
            "Wrap the network in a module that gives it the others."
        ) from error
