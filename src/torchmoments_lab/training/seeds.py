"""The streams of random numbers of a run, each apart from the others: runs of one seed share them all."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch


class Seeds(NamedTuple):
    """Of the initial weights, the order of the images, their augmentation, and the network in training: its dropout."""

    weights: int
    order: int
    augment: int
    network: int


def seeds_of(seed: int) -> Seeds:
    return Seeds(*(int(s) for s in np.random.SeedSequence(seed).generate_state(4)))


@contextmanager
def global_random_numbers(seed: int) -> Iterator[None]:
    """Those of torch on every device, of NumPy and of Python follow `seed` in the block, and are as before after it."""
    before = np.random.get_state(), random.getstate()
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if on_gpu else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
