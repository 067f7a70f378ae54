"""A network that was built, and the images that it takes."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Input:
    """The images that a network takes.

    Args:
        channels: 3, or None for as many as the images have.
        size: side of the square that the network was made for; None: any.
        mean, std: of a pixel from 0 to 1, one number a channel; None: the data set's own.
        bicubic: how images are resized; bilinear if False.
        fixed_size: images of other sizes are resized to `size`, whatever they are.
    """

    channels: int | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bicubic: bool = False
    fixed_size: bool = False


@dataclass(frozen=True)
class Built:
    """A network and the input it takes; `new_head` names the layers that the given weights do not fit, if any."""

    module: nn.Module
    input: Input
    new_head: tuple[str, ...] = ()
