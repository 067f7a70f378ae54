"""Importing PyTorch and what comes with it makes 600,000 objects, and the garbage collector walks over all of them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """For a process of our own: imports in this block take a quarter less time.

    What is there at its end is left out of later rounds, which took 0.3 seconds after each run.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
