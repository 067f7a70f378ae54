"""A user's own model: `your.module:make_model`, or the function given from Python.

    def make_model(num_classes):
        return module             # [B, C, H, W] to logits [B, num_classes]

The argument is optional; it is passed by name if the function takes it. The global random numbers of torch,
NumPy and Python follow the seed while it runs.
"""

import inspect
from collections.abc import Callable
from itertools import chain
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from torchmoments_lab.function import find_function
from torchmoments_lab.process import exits_are_errors


def call_make_model(name: str, make_model: Callable[..., Any] | None, classes: int) -> nn.Module:
    """What the function returns; looked up by its name if None.

    Raises:
        ValueError: it cannot be imported, fails, or returns something else.
    """
    function = find_function("model", name) if make_model is None else make_model
    keywords = {"num_classes": classes} if _takes_classes(function) else {}
    try:
        with exits_are_errors():
            module = function(**keywords)
    except Exception as error:
        raise ValueError(f"model needs {name} to give a module; it raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"model needs {name} to give a torch.nn.Module; got {type(module).__name__}.")
    lazy = [part for part, tensor in chain(module.named_parameters(), module.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise ValueError(
            f"model needs {name} to give parameters that have their shapes; '{lazy[0]}' gets its own from the first "
            "images. Run the network on some before it is returned: net(torch.zeros(2, 3, 32, 32))."
        )
    return module


def _takes_classes(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "num_classes" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
