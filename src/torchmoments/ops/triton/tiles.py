"""Tiles of features on chip, in Triton: the addresses of their values, their moments, their sums.

One moment is a row: the kept axes of a sample are [outer, rows], the reduced ones [slow, fast], and a value is at

    sample * batch_stride + outer * outer_stride + row * row_stride + slow * slow_stride + fast * fast_stride

A tile holds VALUES of each of ROWS rows. The `walk_` functions loop over longer rows.
"""

import triton
import triton.language as tl


@triton.jit
def where(
    start, rows, n, fast, row_stride, slow_stride, fast_stride,
    VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Return the offsets [ROWS, VALUES] of a tile, and which of its values [VALUES] exist."""
    r = start + tl.arange(0, VALUES)
    exists = r < n
    if WIDE:
        r = r.to(tl.int64)
        rows = rows.to(tl.int64)
    if SLOW:
        offsets = (r // fast) * slow_stride + (r % fast) * fast_stride
    else:
        offsets = r * fast_stride
    return rows[:, None] * row_stride + offsets[None, :], exists


@triton.jit
def load(pointer, offsets, inside, TYPE: tl.constexpr):
    return tl.load(pointer + offsets, mask=inside, other=0.0).to(TYPE)


@triton.jit
def tile_moments(values, inside, POSITIVE: tl.constexpr):
    """Compute mean, sum of squared deviations and count [ROWS] of the values of a tile that are included."""
    if POSITIVE:
        inside = inside & (values > 0)
    count = tl.sum(inside.to(values.dtype), 1)
    mean = tl.sum(tl.where(inside, values, 0.0), 1) / tl.maximum(count, 1.0)
    deviations = tl.where(inside, values - mean[:, None], 0.0)
    return mean, tl.sum(deviations * deviations, 1), count


@triton.jit
def walk_moments(
    x, rows, real, n, fast, row_stride, slow_stride, fast_stride,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
    TYPE: tl.constexpr, POSITIVE: tl.constexpr,
):  # fmt: skip
    """Compute the same over all tiles of the rows: Welford's rule in each lane, then Chan's across lanes."""
    mean = tl.zeros([ROWS, VALUES], TYPE)
    squares = tl.zeros([ROWS, VALUES], TYPE)
    count = tl.zeros([ROWS, VALUES], TYPE)
    for start in range(0, n, VALUES):
        offsets, exists = where(start, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
        inside = real[:, None] & exists[None, :]
        values = load(x, offsets, inside, TYPE)
        if POSITIVE:
            inside = inside & (values > 0)
        count += inside.to(TYPE)
        step = tl.where(inside, values - mean, 0.0)
        mean += step / tl.maximum(count, 1.0)
        squares += tl.where(inside, step * (values - mean), 0.0)
    total = tl.sum(count, 1)
    joined = tl.sum(count * mean, 1) / tl.maximum(total, 1.0)
    deviations = mean - joined[:, None]
    return joined, tl.sum(squares + count * deviations * deviations, 1), total


@triton.jit
def walk_sums(
    x, g, mean, std, rows, real, n, fast, row_stride, slow_stride, fast_stride,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Compute G1 = sum g and G2 = sum g h, [ROWS], with h = (x - mean) / std."""
    g1 = tl.zeros([ROWS, VALUES], TYPE)
    g2 = tl.zeros([ROWS, VALUES], TYPE)
    for start in range(0, n, VALUES):
        offsets, exists = where(start, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
        inside = real[:, None] & exists[None, :]
        gradient = load(g, offsets, inside, TYPE)
        g1 += gradient
        g2 += tl.where(inside, gradient * (load(x, offsets, inside, TYPE) - mean[:, None]), 0.0)
    return tl.sum(g1, 1), tl.sum(g2, 1) / std


@triton.jit
def tile_sums(x, g, mean, std, inside):
    """Compute the same for one tile on chip."""
    return tl.sum(g, 1), tl.sum(tl.where(inside, g * (x - mean[:, None]), 0.0), 1) / std


@triton.jit
def own_weights(weight, sample, TYPE: tl.constexpr, WEIGHTED: tl.constexpr, MEAN: tl.constexpr, STD: tl.constexpr):
    """Return the weights of a sample's own mean and own std; 1 for a moment that is not exchanged."""
    own = tl.full([], 0.0, TYPE)
    if WEIGHTED:
        own = tl.load(weight + sample).to(TYPE)
    one = tl.full([], 1.0, TYPE)
    return own if MEAN else one, own if STD else one
