"""Random numbers: the streams of a run, each apart from the others, and the global ones of torch, NumPy and Python."""

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


def input_stream(seed: int, rank: int = 0) -> torch.Generator:
    """The generator of a run's mixing of images, apart from those above and from that of the site."""
    (state,) = np.random.SeedSequence(seed, spawn_key=(1, rank)).generate_state(1)
    return torch.Generator().manual_seed(int(state))


@contextmanager
def fixed_random_numbers(seed: int) -> Iterator[None]:
    """Those of torch's CPU, NumPy and Python follow `seed` in the block, and are as before after it.

    A GPU's stay: transforms in a user's data set draw from the others, and the network from the GPU's.
    """
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


@contextmanager
def global_random_numbers(seed: int) -> Iterator[None]:
    """The same with those of every GPU."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if on_gpu else []
    with fixed_random_numbers(seed), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
