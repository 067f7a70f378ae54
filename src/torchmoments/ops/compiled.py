"""The reference under `torch.compile`."""

import functools
from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.torch_internals import recompile_limit


def exchange(*arguments: Any) -> Tensor:
    """Run `reference.exchange`, compiled once for each norm, shape, layout and dtype.

    Raises:
        RuntimeError: no C++ compiler is found.
    """
    # The limit is meant to stop endless recompilation; here each norm, shape and dtype has to be compiled.
    with recompile_limit(512):
        try:
            y: Tensor = _compiled()(*arguments)
        except Exception as error:
            if "InvalidCxxCompiler" not in f"{type(error).__name__} {error} {error.__cause__!r}":
                raise
            raise RuntimeError(
                'backend="compiled" needs a C++ compiler, and none was found. Install one (g++ or clang++), '
                'or use backend="auto".'
            ) from error
    return y


@functools.cache
def _compiled() -> Any:
    return torch.compile(reference.exchange, fullgraph=True)
