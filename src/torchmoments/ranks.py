"""The batch of one step over all ranks of the default process group, in the order of the ranks.

Moments and labels of its samples are gathered, features never. A gather is a collective: every rank makes the same ones
in the same order, which is so if all ranks run the same steps.
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

GLOBAL = "global"  # the policy whose partners are samples of all ranks


class Shares(NamedTuple):
    """How the batch is split over the ranks.

    Attributes:
        sizes: number of samples on each rank.
        rank: of this process.
    """

    sizes: tuple[int, ...]
    rank: int

    @property
    def start(self) -> int:
        return sum(self.sizes[: self.rank])

    def own(self, whole: Tensor) -> Tensor:
        """Copy this rank's part of a tensor [all samples, ...]."""
        return whole[self.start : self.start + self.sizes[self.rank]].clone()


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalIndex:
    """For each sample of this rank, a sample of the batch over all ranks.

    `index.of(y)` is what `y[index]` is for a tensor of indices, which would find samples of this rank alone.

    Args:
        index: [B] int64, from 0 to the number of all samples.
        shares: how they are split over the ranks.
    """

    index: Tensor
    shares: Shares

    def of(self, values: Tensor) -> Tensor:
        """Return the values of these samples. Every rank has to call it, with tensors of the same dtype and shape.

        Args:
            values: [B, ...], those of this rank's samples.

        Gradient: flows to the values of the rank that they come from.
        """
        if values.shape[0] != self.index.shape[0]:
            raise ValueError(
                f"partners of other ranks need the values of this rank's {len(self)} samples; got shape "
                f"{list(values.shape)}. Use site.draw(len(x))."
            )
        return gathered(values, self.shares)[self.index]

    @property
    def shape(self) -> torch.Size:
        return self.index.shape

    @property
    def device(self) -> torch.device:
        return self.index.device

    def __len__(self) -> int:
        return self.index.shape[0]

    # What PyTorch calls for tensor[self].
    def __getitem__(self, key: Any) -> NoReturn:
        raise TypeError(
            'with partner="global" these are samples of all ranks, so they index no tensor of this rank alone. Use '
            "index.of(tensor) on every rank, or mixed_loss, mixed_targets, mixed_accuracy or site.criterion."
        )


Index = Tensor | GlobalIndex


def take(values: Tensor, index: Index) -> Tensor:
    """Return values[index], for samples of this rank or of all."""
    return index.of(values) if isinstance(index, GlobalIndex) else values[index]


def own_index(index: Index) -> Tensor:
    """Return the index with which every sample would be its own partner, [B] int64."""
    start = index.shares.start if isinstance(index, GlobalIndex) else 0
    return torch.arange(start, start + index.shape[0], device=index.device)


def changed_index(index: Index, change: Callable[[Tensor], Tensor]) -> Index:
    """Return the index with changed numbers, or on another device."""
    return GlobalIndex(change(index.index), index.shares) if isinstance(index, GlobalIndex) else change(index)


def shares_of_ranks(batch_size: int, generator: torch.Generator | None) -> Shares | None:
    """Return how the batch of this step is split, which all ranks ask at the same time; None for a single process.

    It waits for the other ranks, but not for a device.

    Args:
        batch_size: number of samples of this rank.
        generator: the one that decides next, which has to be equal on all ranks; torch's global one if None.

    Raises:
        ValueError: on every rank, if one has no sample, or if their random numbers differ.
        RuntimeError: there are several processes, but no process group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        processes = int(os.environ.get("WORLD_SIZE") or 1)
        if processes > 1:
            raise RuntimeError(
                f'partner="global" needs a process group of the {processes} processes; there is none. Call '
                "torch.distributed.init_process_group before the first step."
            )
        return None
    if dist.get_world_size() == 1:
        return None
    every = _numbers_of_ranks([batch_size, _next_number(generator)])
    sizes = tuple(size for size, _ in every)
    if min(sizes) == 0:
        raise ValueError(f'partner="global" needs a sample on every rank; got {sizes}. Drop the last batch.')
    if len({number for _, number in every}) > 1:
        raise ValueError(
            'partner="global" needs the same random numbers on every rank; they differ. Use the same seed on all of '
            "them, attach(..., seed=0), and as many draws."
        )
    return Shares(sizes, dist.get_rank())


def _next_number(generator: torch.Generator | None) -> int:
    """Return the number that a generator would give next, which stays as it is."""
    copy = torch.Generator()
    copy.set_state((torch.default_generator if generator is None else generator).get_state())
    return int(torch.randint(2**62, (), generator=copy, device="cpu"))


def _numbers_of_ranks(numbers: list[int]) -> list[list[int]]:
    own = torch.tensor(numbers, device="cpu")
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own, group=_group_for_cpu(dist.group.WORLD))
    return torch.stack(every).tolist()


@functools.lru_cache(maxsize=1)
def _group_for_cpu(default: Any) -> Any:
    """Return a group of all ranks that gathers tensors on the CPU, which NCCL does not."""
    return default if "cpu:" in dist.get_backend_config(default) else dist.new_group(backend="gloo")


def gathered(x: Tensor, shares: Shares) -> Tensor:
    """Concatenate x [B, ...] of all ranks, [all samples, ...].

    Gradient: what the loss of each rank says about a sample is added up, and arrives at the rank of the sample.
    """
    y: Tensor = _Gather.apply(x, shares)
    return y


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        # As bytes, because backends know few dtypes; padded, because they need equal sizes.
        rows = x.detach().reshape(x.shape[0], -1).contiguous().view(torch.uint8)
        longest = max(shares.sizes)
        padded = torch.cat([rows, rows.new_zeros(longest - rows.shape[0], rows.shape[1])])
        parts = [torch.empty_like(padded) for _ in shares.sizes]
        dist.all_gather(parts, padded, group=dist.group.WORLD)
        rows = torch.cat([part[:size] for part, size in zip(parts, shares.sizes)])  # noqa: B905  as in planner.py
        return rows.view(x.dtype).reshape(-1, *x.shape[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _Scatter.apply(g, ctx.shares), None


class _Scatter(torch.autograd.Function):
    """Add up tensors [all samples, ...] over the ranks, and return this rank's part: the transpose of `_Gather`."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        # Not reduce_scatter, which gloo has only since torch 2.8. Not in half types, which would round each sum.
        total = g.detach().to(torch.promote_types(g.dtype, torch.float32), copy=True).contiguous()
        dist.all_reduce(total, group=dist.group.WORLD)
        return shares.own(total).to(g.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(g, ctx.shares), None
