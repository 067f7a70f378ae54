"""Models by name: the network, and what it wants to be given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchmoments_lab.config import SubjectConfig, nearest


@dataclass(frozen=True)
class Input:
    """What a network wants to be given.

    Args:
        channels: 3, or None for as many as the images have.
        size: side of the square that the network was made for; None: any.
        mean, std: of a pixel from 0 to 1, one number a channel; None: the data set's own.
        crop: the part of a resized test image that is kept, as a share of its side.
        bicubic: how images are resized; bilinear where False.
        fixed_size: no other size than `size` runs.
    """

    channels: int | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: float = 1.0
    bicubic: bool = False
    fixed_size: bool = False


@dataclass(frozen=True)
class Built:
    """A network and the input it wants; `new_head` says what of `weights` was left out, None where nothing was."""

    module: nn.Module
    input: Input
    new_head: str | None = None


def build(config: SubjectConfig, classes: int, channels: int | None, make_model: Callable[..., Any] | None) -> Built:
    """The network that `config.model` names; initial weights come from global random numbers.

    Args:
        config: names the network, and the weights it starts from.
        classes: of the data, the number of its outputs.
        channels: of the images where they are known, for `small`.
        make_model: a user's function, in place of the name.

    Raises:
        ValueError: no such network, it cannot be made, or the weights do not fit.
    """
    from torchmoments_lab.models.strided import make_safe
    from torchmoments_lab.models.weights import load_file

    library, slash, name = config.model.partition("/")
    is_own = make_model is not None or ":" in config.model
    if is_own:
        from torchmoments_lab.models.own import call_make_model

        built = Built(call_make_model(config.model, make_model, classes), Input())
    elif config.model == "small":
        from torchmoments_lab.models.small import SmallResNet

        built = Built(SmallResNet(channels or 3, classes, config.width), Input())
    elif slash and library in ("timm", "torchvision", "pytorchcv"):
        from torchmoments_lab.models import libraries

        built = getattr(libraries, f"build_{library}")(name, classes, config)
    else:
        known = ("small", "timm/NAME", "torchvision/NAME", "pytorchcv/NAME", "your.module:make_model")
        raise ValueError(f"model needs the name of a model; got {config.model!r}. {nearest(config.model, known)}")
    module = built.module
    # The faster layout for convolutions; a user's model stays as it is.
    if not is_own:
        make_safe(module.to(memory_format=torch.channels_last))
    new_head = built.new_head if config.weights is None else load_file(module, config.weights, classes)
    return Built(module, built.input, new_head)
