"""Networks of the studies that a library builds but has no name for."""

from pytorchcv.models.wrn_cifar import get_wrn_cifar
from torch import nn


def wrn_16_4(num_classes: int) -> nn.Module:
    """WideResNet-16-4 of Zagoruyko and Komodakis (2016), for grey images of 32 x 32."""
    network: nn.Module = get_wrn_cifar(num_classes, blocks=16, width_factor=4, in_channels=1)
    return network
