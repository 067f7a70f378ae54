"""The random numbers of a site: a function of its seed, the number of the draw, and the rank of the process.

So a state is two whole numbers, the same on all ranks: a checkpoint of one rank resumes every rank, and another number
of them.
"""

import os

import torch

_BITS = 2**64 - 1


def stream(seed: int, counter: int, rank: int) -> torch.Generator:
    """The generator of one draw."""
    state = 0
    for number in (seed, counter, rank):
        state = _scramble(state ^ (number & _BITS))
    return torch.Generator().manual_seed(state >> 1)


def rank_of_this_process() -> int:
    """Asked at each draw: a process group may be made after a site."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK") or 0)


def _scramble(number: int) -> int:
    """splitmix64: numbers in a row become independent."""
    number = (number + 0x9E3779B97F4A7C15) & _BITS
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _BITS
    return number ^ (number >> 31)
