"""The exchange in one kernel for each direction, in Triton.

A program works on ROWS rows of one sample, see `tiles`. The sample is the fastest index of the grid, so the programs on
the same rows of all samples run one after another, and what one reads as its own another finds in the cache as its
partner's.

WHOLE: the values of a row fit on chip and are read once. Otherwise a loop reads VALUES of them at a time.
"""

import triton
import triton.language as tl

from torchmoments.ops.triton.tiles import load, own_weights, tile_moments, tile_sums, walk_moments, walk_sums, where


@triton.jit
def exchange_forward(
    x, partner, mixed, weight, y, means, stds, counts,
    samples, moments, x_batch, y_batch, outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    EPS: tl.constexpr, TYPE: tl.constexpr, POSITIVE: tl.constexpr, MIXED: tl.constexpr, WEIGHTED: tl.constexpr,
    MEAN: tl.constexpr, STD: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, WHOLE: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """y, and the mean, the std and (POSITIVE) the count of every row, [samples, moments]."""
    sample = (tl.program_id(0) % samples).to(tl.int64)
    tile = tl.program_id(0) // samples
    row_tiles = tl.cdiv(row_count, ROWS)
    outer = (tile // row_tiles).to(tl.int64)
    rows = (tile % row_tiles) * ROWS + tl.arange(0, ROWS)
    real = rows < row_count
    x += outer * outer_stride
    donor = tl.load(partner + sample)
    offsets, exists = where(0, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]

    if WHOLE:
        own = tl.load(x + sample * x_batch + offsets, mask=inside, other=0.0)
        mean, squares, count = tile_moments(own.to(TYPE), inside, POSITIVE)
        donors = load(x + donor * x_batch, offsets, inside, TYPE)
        donor_mean, donor_squares, donor_count = tile_moments(donors, inside, POSITIVE)
    else:
        mean, squares, count = walk_moments(
            x + sample * x_batch, rows, real, n, fast, row_stride, slow_stride, fast_stride,
            ROWS, VALUES, SLOW, WIDE, TYPE, POSITIVE,
        )  # fmt: skip
        donor_mean, donor_squares, donor_count = walk_moments(
            x + donor * x_batch, rows, real, n, fast, row_stride, slow_stride, fast_stride,
            ROWS, VALUES, SLOW, WIDE, TYPE, POSITIVE,
        )  # fmt: skip
    unbiased = 0.0 if POSITIVE else 1.0
    std = tl.sqrt(squares / tl.maximum(count - unbiased, 1.0) + EPS)
    donor_std = tl.sqrt(donor_squares / tl.maximum(donor_count - unbiased, 1.0) + EPS)

    own_mean, own_std = own_weights(weight, sample, TYPE, WEIGHTED, MEAN, STD)
    scale = (own_std * std + (1.0 - own_std) * donor_std) / std
    shift = own_mean * mean + (1.0 - own_mean) * donor_mean
    changed = real
    if POSITIVE:
        changed = changed & (count > 0) & (donor_count > 0)
    if MIXED:
        changed = changed & tl.load(mixed + sample)

    at = sample * moments + outer * row_count + rows
    tl.store(means + at, mean, mask=real)
    tl.store(stds + at, std, mask=real)
    if POSITIVE:
        tl.store(counts + at, count, mask=real)
    y += sample * y_batch + outer * outer_stride
    if WHOLE:
        new = ((own.to(TYPE) - mean[:, None]) * scale[:, None] + shift[:, None]).to(own.dtype)
        tl.store(y + offsets, tl.where(changed[:, None], new, own), mask=inside)
    else:
        for start in range(0, n, VALUES):
            offsets, exists = where(start, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
            inside = real[:, None] & exists[None, :]
            part = tl.load(x + sample * x_batch + offsets, mask=inside, other=0.0)
            new = ((part.to(TYPE) - mean[:, None]) * scale[:, None] + shift[:, None]).to(part.dtype)
            tl.store(y + offsets, tl.where(changed[:, None], new, part), mask=inside)


@triton.jit
def exchange_backward(
    x, g, partner, mixed, weight, means, stds, counts, dx,
    samples, moments, x_batch, g_batch, dx_batch,
    outer_stride, row_count, n, fast, row_stride, slow_stride, fast_stride,
    TYPE: tl.constexpr, POSITIVE: tl.constexpr, MIXED: tl.constexpr, WEIGHTED: tl.constexpr,
    MEAN: tl.constexpr, STD: tl.constexpr, OWN: tl.constexpr, DONOR: tl.constexpr,
    ROWS: tl.constexpr, VALUES: tl.constexpr, SAMPLES: tl.constexpr,
    WHOLE: tl.constexpr, SLOW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """dx as in `closed_form`. The sums A and B over the samples that receive this one's moments are computed here, from
    their x and g: no atomics, so the result is deterministic, for any partners."""
    sample = (tl.program_id(0) % samples).to(tl.int64)
    tile = tl.program_id(0) // samples
    row_tiles = tl.cdiv(row_count, ROWS)
    outer = (tile // row_tiles).to(tl.int64)
    rows = (tile % row_tiles) * ROWS + tl.arange(0, ROWS)
    real = rows < row_count
    x += outer * outer_stride
    g += outer * outer_stride
    at = outer * row_count + rows
    offsets, exists = where(0, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
    inside = real[:, None] & exists[None, :]

    mean = tl.load(means + sample * moments + at, mask=real, other=0.0)
    std = tl.load(stds + sample * moments + at, mask=real, other=1.0)
    donor = tl.load(partner + sample)
    changed = real
    if POSITIVE:
        count = tl.load(counts + sample * moments + at, mask=real, other=0.0)
        changed = changed & (count > 0) & (tl.load(counts + donor * moments + at, mask=real, other=0.0) > 0)
    if MIXED:
        changed = changed & tl.load(mixed + sample)
    own_mean, own_std = own_weights(weight, sample, TYPE, WEIGHTED, MEAN, STD)
    k = (own_std * std + (1.0 - own_std) * tl.load(stds + donor * moments + at, mask=real, other=1.0)) / std
    k = tl.where(changed, k, 1.0)

    if WHOLE:
        values = load(x + sample * x_batch, offsets, inside, TYPE)
        gradient = load(g + sample * g_batch, offsets, inside, TYPE)
    c1 = tl.zeros([ROWS], TYPE)
    c2 = tl.zeros([ROWS], TYPE)
    if OWN:
        if WHOLE:
            g1, g2 = tile_sums(values, gradient, mean, std, inside)
        else:
            g1, g2 = walk_sums(
                x + sample * x_batch, g + sample * g_batch, mean, std,
                rows, real, n, fast, row_stride, slow_stride, fast_stride, ROWS, VALUES, SLOW, WIDE, TYPE,
            )  # fmt: skip
        c1 += tl.where(changed, (own_mean - k) * g1, 0.0)
        c2 += tl.where(changed, (own_std - k) * g2, 0.0)
    if DONOR:
        everyone = tl.arange(0, SAMPLES)
        receives = tl.load(partner + everyone, mask=everyone < samples, other=-1) == sample
        if MIXED:
            receives = receives & tl.load(mixed + everyone, mask=everyone < samples, other=0)
        receiver = tl.min(tl.where(receives, everyone, samples), 0)
        while receiver < samples:
            a = receiver.to(tl.int64)
            a_mean = tl.load(means + a * moments + at, mask=real, other=0.0)
            a_std = tl.load(stds + a * moments + at, mask=real, other=1.0)
            if WHOLE:
                a_values = load(x + a * x_batch, offsets, inside, TYPE)
                a_gradient = load(g + a * g_batch, offsets, inside, TYPE)
                g1, g2 = tile_sums(a_values, a_gradient, a_mean, a_std, inside)
            else:
                g1, g2 = walk_sums(
                    x + a * x_batch, g + a * g_batch, a_mean, a_std,
                    rows, real, n, fast, row_stride, slow_stride, fast_stride, ROWS, VALUES, SLOW, WIDE, TYPE,
                )  # fmt: skip
            a_own_mean, a_own_std = own_weights(weight, a, TYPE, WEIGHTED, MEAN, STD)
            if POSITIVE:
                reached = (count > 0) & (tl.load(counts + a * moments + at, mask=real, other=0.0) > 0)
                g1 = tl.where(reached, g1, 0.0)
                g2 = tl.where(reached, g2, 0.0)
            c1 += (1.0 - a_own_mean) * g1
            c2 += (1.0 - a_own_std) * g2
            receiver = tl.min(tl.where(receives & (everyone > receiver), everyone, samples), 0)

    if POSITIVE:
        c1 = c1 / tl.maximum(count, 1.0)
        c2 = c2 / tl.maximum(count, 1.0)
    else:
        c1 = c1 / n
        c2 = c2 / (n - 1)
    c2 = c2 / std
    dx += sample * dx_batch + outer * outer_stride
    if WHOLE:
        moved = c1[:, None] + (values - mean[:, None]) * c2[:, None]
        if POSITIVE:
            moved = tl.where(values > 0, moved, 0.0)
        tl.store(dx + offsets, (k[:, None] * gradient + moved).to(dx.dtype.element_ty), mask=inside)
    else:
        for start in range(0, n, VALUES):
            offsets, exists = where(start, rows, n, fast, row_stride, slow_stride, fast_stride, VALUES, SLOW, WIDE)
            inside = real[:, None] & exists[None, :]
            part = load(x + sample * x_batch, offsets, inside, TYPE)
            moved = c1[:, None] + (part - mean[:, None]) * c2[:, None]
            if POSITIVE:
                moved = tl.where(part > 0, moved, 0.0)
            change = k[:, None] * load(g + sample * g_batch, offsets, inside, TYPE) + moved
            tl.store(dx + offsets, change.to(dx.dtype.element_ty), mask=inside)
