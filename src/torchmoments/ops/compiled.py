"""The reference under `torch.compile`."""

import functools
from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference


def exchange(*arguments: Any) -> Tensor:
    """`reference.exchange`, compiled once for each norm, shape, layout and dtype.

    Raises:
        RuntimeError: no C++ compiler is found.
    """
    # The limit on recompilation is there to stop a runaway; each norm, shape and dtype is a wanted compilation.
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"  # torch 2.6
    with torch._dynamo.config.patch({limit: 512}):
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
