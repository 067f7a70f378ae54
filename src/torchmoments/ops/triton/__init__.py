"""The exchange and renormalization as Triton kernels, forward and backward. Imported on demand.

On a GPU the forward reads x once and writes y once, the backward reads x and g once and writes dx once, as long as the
rows of all samples fit in the cache; longer rows (ln, large groups) are read once more in each direction, for their
moments.
"""

from torchmoments.ops.triton.exchange import exchange
from torchmoments.ops.triton.launch import supported
from torchmoments.ops.triton.renormalize import renormalize

__all__ = ["exchange", "renormalize", "supported"]
