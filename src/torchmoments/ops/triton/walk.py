"""How the values of one moment are laid out in memory, and how kernels divide them into tiles.

Axes of a view that are adjacent in memory are merged, so that nearly every norm and layout becomes

    sample, outer, row | slow, fast        kept axes | reduced axes

with the smallest stride last on either side. Missing axes have size 1.
"""

from typing import NamedTuple

from torch import Tensor

# The preferred bytes of x in a program, and the largest number of values of x and g without spilling.
TILE_BYTES, LARGEST_TILE = 8192, 16384
SECTOR_BYTES = 32  # the smallest read from a GPU's memory


class Walk(NamedTuple):
    """Sizes and strides, in elements, of the kept and of the reduced axes of every sample."""

    outer: int
    rows: int
    slow: int
    fast: int
    outer_stride: int
    row_stride: int
    slow_stride: int
    fast_stride: int
    kept_axes: tuple[int, ...]

    @property
    def values(self) -> int:
        """The number of values in one moment."""
        return self.slow * self.fast

    @property
    def moments(self) -> int:
        """The number of moments of one sample."""
        return self.outer * self.rows

    @property
    def is_wide(self) -> bool:
        """Whether offsets inside a sample need 64 bits."""
        sizes = (self.outer, self.rows, self.slow, self.fast)
        strides = (self.outer_stride, self.row_stride, self.slow_stride, self.fast_stride)
        return sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) >= 2**31

    def flat(self, moment: Tensor) -> Tensor:
        """Flatten a moment with the kept axes of the features to [samples, moments], in the walk's order."""
        others = [axis for axis in range(1, moment.ndim) if axis not in self.kept_axes]
        return moment.permute(0, *self.kept_axes, *others).reshape(moment.shape[0], self.moments)

    def unflat(self, flat: Tensor, like: Tensor) -> Tensor:
        """Convert [samples, moments] back to the shape of a moment."""
        others = [axis for axis in range(1, like.ndim) if axis not in self.kept_axes]
        order = [0, *self.kept_axes, *others]
        moment = flat.reshape([like.shape[axis] for axis in order])
        return moment.permute([order.index(axis) for axis in range(like.ndim)])


class Tiles(NamedTuple):
    """How kernels divide a walk: `rows` moments per program, and `values` of each at a time.

    Attributes:
        whole: a tile holds all values of its rows.
        chunked: rows are so long that each chunk of them gets its own program.
    """

    rows: int
    values: int
    whole: bool
    chunked: bool
    warps: int


def walk(x: Tensor, axes: tuple[int, ...]) -> Walk | None:
    """Return the walk over x for moments that reduce `axes`; None if either side needs more than two strides."""
    kept = _ordered(x, [axis for axis in range(1, x.ndim) if axis not in axes])
    outer_and_rows = _joined(x, kept)
    slow_and_fast = _joined(x, _ordered(x, list(axes)))
    if outer_and_rows is None or slow_and_fast is None:
        return None
    (outer, outer_stride), (rows, row_stride) = outer_and_rows
    (slow, slow_stride), (fast, fast_stride) = slow_and_fast
    return Walk(outer, rows, slow, fast, outer_stride, row_stride, slow_stride, fast_stride, tuple(kept))


def tiles(walk: Walk, samples: int, element_bytes: int, cache_bytes: int) -> Tiles:
    """Choose tiles for a walk over `samples` samples, on a device whose cache has `cache_bytes` for their rows."""
    values = power_of_2(walk.values)
    # If rows are adjacent in memory, a program processes enough of them to use every byte of a read.
    least = SECTOR_BYTES // element_bytes if walk.row_stride < walk.fast_stride else 1
    least = min(least, power_of_2(walk.rows))
    wanted = TILE_BYTES // element_bytes
    whole = least * values <= LARGEST_TILE
    if whole:
        rows = max(least, min(wanted // values, power_of_2(walk.rows)))
    else:
        rows, values = least, wanted // least
    chunked = not whole and least * walk.values * element_bytes * samples > cache_bytes
    # 32 bytes per thread: two of the widest reads
    warps = max(1, min(16, rows * values * element_bytes // 1024))
    return Tiles(rows, values, whole, chunked, warps)


def same_steps(x: Tensor, y: Tensor) -> bool:
    """Whether one walk works for two tensors of the same shape: they have the same strides inside a sample."""
    return all(
        size == 1 or mine == theirs
        for size, mine, theirs in zip(x.shape[1:], x.stride()[1:], y.stride()[1:], strict=True)
    )


def power_of_2(number: int) -> int:
    """Return the smallest power of 2 that is at least `number`."""
    return 1 << max(0, number - 1).bit_length()


def _ordered(x: Tensor, axes: list[int]) -> list[int]:
    return sorted(axes, key=lambda axis: (-x.stride()[axis], axis))


def _joined(x: Tensor, axes: list[int]) -> list[tuple[int, int]] | None:
    joined: list[tuple[int, int]] = []
    for axis in axes:
        size, stride = x.shape[axis], x.stride(axis)
        if size == 1:
            continue
        if joined and joined[-1][1] == size * stride:
            joined[-1] = (joined[-1][0] * size, stride)
        else:
            joined.append((size, stride))
    if len(joined) > 2:
        return None
    return [(1, 0)] * (2 - len(joined)) + joined
