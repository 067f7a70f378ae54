"""Launching kernels over the tiles of features."""

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.ops.reference import Moments
from torchmoments.ops.triton import chunk_kernels, exchange_kernels
from torchmoments.ops.triton.walk import Tiles, Walk, same_steps, tiles, walk

TYPES = {
    torch.float16: tl.float32,
    torch.bfloat16: tl.float32,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}
MOST_SAMPLES = 16384  # the backward loads all partners at once to find the samples that receive a sample's moments
# A constant, because the compiler of PyTorch 2.11 cannot trace a question about a kernel.
IS_INTERPRETED = not isinstance(exchange_kernels.exchange_forward, triton.JITFunction)
CACHE_BYTES = 20 * 2**20  # if the device does not report it


def supported(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether the kernels can be used for these features: their dtype, their strides, and the size of the batch."""
    return (
        x.dtype in TYPES and x.shape[0] <= MOST_SAMPLES and walk(torch.empty_like(x, device="meta"), axes) is not None
    )


def check_runs(x: Tensor, axes: tuple[int, ...]) -> None:
    """Raise RuntimeError unless kernels can run on these features."""
    if not (x.is_cuda or IS_INTERPRETED):
        raise RuntimeError(
            f'backend="triton" was asked for, but x is on {x.device}. Move x to a GPU, or use backend="reference".'
        )
    if not supported(x, axes):
        raise RuntimeError(
            f'backend="triton" needs float16, bfloat16, float32 or float64, at most {MOST_SAMPLES} samples, and a norm '
            f"whose axes lie in memory with two strides at most; got {x.dtype} {list(x.shape)} with strides "
            f'{list(x.stride())}, reduced over axes {list(axes)}. Use backend="auto".'
        )


class Launch:
    """A walk over a tensor and its tiles, and the launch of kernels over them."""

    def __init__(self, like: Tensor, axes: list[int], *, chunked: bool = False) -> None:
        found = walk(like, tuple(axes))
        assert found is not None
        self.walk: Walk = found
        self.like = like
        self.tiles: Tiles = tiles(found, like.shape[0], like.element_size(), cache_bytes(like))
        if chunked:
            self.tiles = self.tiles._replace(chunked=True)

    def stepping(self, x: Tensor) -> Tensor:
        """Return x, or a copy of it, with the strides inside a sample that the walk has."""
        return x if same_steps(x, self.like) else torch.empty_like(self.like).copy_(x)

    def moments(self, x: Tensor) -> Tensor:
        """Allocate an empty tensor [samples, moments]."""
        return x.new_empty((x.shape[0], self.walk.moments), dtype=reference.statistics_type(x))

    def flat(self, moment: Tensor) -> Tensor:
        return self.walk.flat(moment).contiguous()

    @property
    def chunks(self) -> int:
        return -(-self.walk.values // self.tiles.values)

    def run(self, kernel: Any, *tensors: Tensor, batches: tuple[Tensor, ...], **settings: Any) -> None:
        """Launch a kernel; `batches` are the tensors of x's size, whose batch strides may differ."""
        w, samples = self.walk, self.like.shape[0]
        programs = samples * w.outer * -(-w.rows // self.tiles.rows)
        chunks = []
        if self.tiles.chunked:
            programs *= self.chunks
            chunks = [self.chunks]
        with torch.cuda.device(self.like.device) if self.like.is_cuda else nullcontext():
            kernel[(programs,)](
                *tensors, samples, w.moments, *(tensor.stride(0) for tensor in batches), *chunks,
                w.outer_stride, w.rows, w.values, w.fast, w.row_stride, w.slow_stride, w.fast_stride,
                TYPE=TYPES[self.like.dtype], ROWS=self.tiles.rows, VALUES=self.tiles.values,
                SLOW=w.slow > 1, WIDE=w.is_wide, num_warps=self.tiles.warps, **settings,
            )  # fmt: skip


def chunk_moments(over: Launch, x: Tensor, eps: float, positive_only: bool) -> tuple[Moments, Tensor]:
    """Compute moments [B, moments] and counts; chunks are combined by Chan's rule."""
    shape = (over.chunks, x.shape[0], over.walk.moments)
    means, squares, counts = (x.new_empty(shape, dtype=reference.statistics_type(x)) for _ in range(3))
    over.run(chunk_kernels.chunk_moments, x, means, squares, counts, batches=(x,), POSITIVE=positive_only)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count.clamp(min=1)
    variance = squares.add_(counts * (means - mean).square()).sum(0) / (count - (0 if positive_only else 1)).clamp(
        min=1
    )
    return Moments(mean, (variance + eps).sqrt()), count


def chunk_renormalize(over: Launch, x: Tensor, y: Tensor, own: Moments, new: Moments, changed: Tensor | None) -> None:
    mean, scale, shift = reference.affine(own, new, changed)
    over.run(chunk_kernels.chunk_renormalize, x, mean.contiguous(), scale, shift.contiguous(), y, batches=(x, y))


def chunk_sums(
    over: Launch, x: Tensor, g: Tensor, own: Moments, scale: Tensor | None = None, dx: Tensor | None = None
) -> Tensor:
    """Compute G1 and G2, [2, B, moments]; with a scale also dx = scale * g."""
    sums = own.mean.new_empty((2, over.chunks, *own.mean.shape))
    scaled, into = (own.mean, x) if scale is None or dx is None else (scale, dx)
    over.run(
        chunk_kernels.chunk_sums,
        x,
        g,
        own.mean,
        own.std,
        scaled,
        into,
        *sums,
        batches=(x, g, into),
        SCALE=scale is not None,
    )
    return sums.sum(1)


def cache_bytes(x: Tensor) -> int:
    """Return half the size of the device's last-level cache: the other half is for writes."""
    return torch.cuda.get_device_properties(x.device).L2_cache_size // 2 if x.is_cuda else CACHE_BYTES
