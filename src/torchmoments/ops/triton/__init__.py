"""The exchange and the affine restyle as Triton kernels, forward and backward. Loaded on demand.

On a GPU the forward reads x once and writes y once, the backward reads x and g once and writes dx once, as long as the
rows of all samples fit in the cache; longer rows (ln, large groups) are read once more in each direction, for their
moments.
"""

from torchmoments.ops.triton.exchange import exchange
from torchmoments.ops.triton.launch import supported
from torchmoments.ops.triton.restyle import restyle

__all__ = ["exchange", "restyle", "supported"]
