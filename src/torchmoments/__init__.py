"""Swap feature statistics between training samples: Moment Exchange (MoEx) and its relatives.

The public names are those of `torchmoments.public`. They are loaded at the first use of one of them,
because PyTorch takes seconds to import and `torchmoments --help` does not need it.
"""

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmoments.public import *  # noqa: F403


# Kept, because a loop asks at every step, and looking for a module takes longer than mixing the labels.
@functools.cache
def __getattr__(name: str) -> object:
    # A module of the package that is asked for first, before its import has made it an attribute.
    if importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    public = importlib.import_module("torchmoments.public")
    if name == "__all__":
        return public.__all__
    if name not in public.__all__:
        raise AttributeError(f"torchmoments has no {name!r}. It has: {', '.join(public.__all__)}.")
    return getattr(public, name)


def __dir__() -> list[str]:
    return list(importlib.import_module("torchmoments.public").__all__)
