"""Strided 1 x 1 convolutions of few channels, computed without a fault of oneDNN.

In the channels_last layout on a CPU its backward of them writes past the end of the gradient, and the process crashes.
Seen below 16 channels from 56 x 56 pixels with AVX-512, and below 8 channels at every size with AVX2 alone; not with
groups, padding or 16-bit numbers, nor in the default layout (torch 2.14).
"""

import torch.nn.functional as F
from torch import Tensor, nn

# The width of a vector of float32 in AVX-512: with as many channels oneDNN takes care of the end.
_SAFE = 16


class SlicedConv2d(nn.Conv2d):
    """The same convolution, without its stride, of the positions that the stride would take."""

    def forward(self, x: Tensor) -> Tensor:
        down, right = self.stride
        return F.conv2d(x[..., ::down, ::right], self.weight, self.bias)


def make_safe(network: nn.Module) -> None:
    """Turn the convolutions in a network that are at risk into `SlicedConv2d`, in place."""
    for part in network.modules():
        # Not a subclass, which may have another forward.
        if (
            type(part) is nn.Conv2d
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
            and part.padding in ((0, 0), "valid")
            and part.groups == 1
            and part.in_channels < _SAFE
        ):
            part.__class__ = SlicedConv2d
