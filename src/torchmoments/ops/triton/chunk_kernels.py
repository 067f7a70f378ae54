"""Moments, renormalization and gradients by chunks, in Triton: each program processes part of a row, VALUES long.

For rows so long that those of all samples do not fit in the cache, and for `renormalize`, which needs no whole rows.
"""

import triton
import triton.language as tl

from torchmoments.ops.triton.tiles import load, tile_moments, tile_sums, where


@triton.jit
def _chunk(samples, row_count, chunks, ROWS: tl.constexpr):
    """Return what a program of the `chunk_` kernels works on: sample, outer, rows, and the index of the chunk."""
    sample = (tl.program_id(0) % samples).to(tl.int64)
    rest = tl.program_id(0) // samples
    tile = rest // chunks
    row_tiles = tl.cdiv(row_count, ROWS)
    return sample, (tile // row_tiles).to(tl.int64), (tile % row_tiles) * ROWS + tl.arange(0, ROWS), rest % chunks


@triton.jit
def chunk_moments(
    x, means, squares, counts,
    samples, moments, x_batch, chunks, outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    TYPE: tl.constexpr, POSITIVE: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Mean, sum of squared deviations and count of every chunk, [chunks, samples, moments]."""
    sample, outer, rows, chunk = _chunk(samples, row_count, chunks, ROWS)
    real = rows < row_count
    offsets, exists = where(chunk * VALUES, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]
    values = load(x + sample * x_batch + outer * outer_stride, offsets, inside, TYPE)
    mean, square, count = tile_moments(values, inside, POSITIVE)
    at = (chunk * samples + sample) * moments + outer * row_count + rows
    tl.store(means + at, mean, mask=real)
    tl.store(squares + at, square, mask=real)
    tl.store(counts + at, count, mask=real)


@triton.jit
def chunk_renormalize(
    x, means, scales, shifts, y,
    samples, moments, x_batch, y_batch, chunks,
    outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    TYPE: tl.constexpr, ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) * scale + shift, with [samples, moments] of each."""
    sample, outer, rows, chunk = _chunk(samples, row_count, chunks, ROWS)
    real = rows < row_count
    offsets, exists = where(chunk * VALUES, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]
    at = sample * moments + outer * row_count + rows
    mean = tl.load(means + at, mask=real, other=0.0)[:, None]
    scale = tl.load(scales + at, mask=real, other=0.0)[:, None]
    shift = tl.load(shifts + at, mask=real, other=0.0)[:, None]
    new = (load(x + sample * x_batch + outer * outer_stride, offsets, inside, TYPE) - mean) * scale + shift
    tl.store(y + sample * y_batch + outer * outer_stride + offsets, new.to(y.dtype.element_ty), mask=inside)


@triton.jit
def chunk_sums(
    x, g, means, stds, scales, dx, g1s, g2s,
    samples, moments, x_batch, g_batch, dx_batch, chunks,
    outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    TYPE: tl.constexpr, SCALE: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G1 and G2 of every chunk, [chunks, samples, moments] each; with SCALE also dx = scale * g."""
    sample, outer, rows, chunk = _chunk(samples, row_count, chunks, ROWS)
    real = rows < row_count
    offsets, exists = where(chunk * VALUES, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]
    at = sample * moments + outer * row_count + rows
    mean = tl.load(means + at, mask=real, other=0.0)
    std = tl.load(stds + at, mask=real, other=1.0)
    gradient = load(g + sample * g_batch + outer * outer_stride, offsets, inside, TYPE)
    values = load(x + sample * x_batch + outer * outer_stride, offsets, inside, TYPE)
    g1, g2 = tile_sums(values, gradient, mean, std, inside)
    into = (chunk * samples + sample) * moments + outer * row_count + rows
    tl.store(g1s + into, g1, mask=real)
    tl.store(g2s + into, g2, mask=real)
    if SCALE:
        scaled = gradient * tl.load(scales + at, mask=real, other=0.0)[:, None]
        tl.store(dx + sample * dx_batch + outer * outer_stride + offsets, scaled.to(dx.dtype.element_ty), mask=inside)


@triton.jit
def chunk_gradient(
    x, g, means, scales, c1s, c2s, dx,
    samples, moments, x_batch, g_batch, dx_batch, chunks,
    outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    TYPE: tl.constexpr, POSITIVE: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """dx = scale * g + c1 + c2 * (x - mean), with POSITIVE the last two where x > 0 only."""
    sample, outer, rows, chunk = _chunk(samples, row_count, chunks, ROWS)
    real = rows < row_count
    offsets, exists = where(chunk * VALUES, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]
    at = sample * moments + outer * row_count + rows
    mean = tl.load(means + at, mask=real, other=0.0)[:, None]
    scale = tl.load(scales + at, mask=real, other=0.0)[:, None]
    c1 = tl.load(c1s + at, mask=real, other=0.0)[:, None]
    c2 = tl.load(c2s + at, mask=real, other=0.0)[:, None]
    values = load(x + sample * x_batch + outer * outer_stride, offsets, inside, TYPE)
    moved = c1 + (values - mean) * c2
    if POSITIVE:
        moved = tl.where(values > 0, moved, 0.0)
    gradient = scale * load(g + sample * g_batch + outer * outer_stride, offsets, inside, TYPE) + moved
    tl.store(dx + sample * dx_batch + outer * outer_stride + offsets, gradient.to(dx.dtype.element_ty), mask=inside)
