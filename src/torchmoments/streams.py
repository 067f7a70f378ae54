"""The random numbers of a site: a function of its seed, the index of the draw, and the rank of the process.

So the state is two integers, the same on all ranks: a checkpoint of one rank resumes every rank, even with a different
number of ranks.
"""

import os

import torch

_BITS = 2**64 - 1


def stream(seed: int, counter: int, rank: int) -> torch.Generator:
    """Return the generator for one draw."""
    state = 0
    for number in (seed, counter, rank):
        state = _scramble(state ^ (number & _BITS))
    return torch.Generator().manual_seed(state >> 1)


def rank_of_this_process() -> int:
    """Return the rank; called at each draw, because a process group may be created after a site."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    # RANK alone is no launcher's: one that was left in the environment must not change the draws.
    return int(os.environ.get("RANK") or 0) if int(os.environ.get("WORLD_SIZE") or 1) > 1 else 0


def _scramble(number: int) -> int:
    """Hash with splitmix64: consecutive numbers become independent."""
    number = (number + 0x9E3779B97F4A7C15) & _BITS
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _BITS
    return number ^ (number >> 31)
