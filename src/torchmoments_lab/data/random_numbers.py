"""Chance inside a user's data set: transforms that draw from the global random numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def fixed_random_numbers(seed: int) -> Iterator[None]:
    """Those of torch's CPU, NumPy and Python follow `seed` in the block. A GPU's stay: they are the network's."""
    before = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
