"""The classifier of a network: its last layer, which is new if the network was trained for other classes."""

import torch
from torch import nn

# timm's classifiers of EfficientNet and MobileNet start from a standard deviation of 0.4, and so from a loss of 3 to 5.
_NEAR_ZERO = 0.01


def head_of(module: nn.Module, classes: int) -> tuple[str, ...]:
    """Names of the layers that give a score for each class: those that timm names, otherwise the last; () if none does.

    A layer does that if it has as many outputs as there are classes.
    """
    fitting = [
        name
        for name, child in module.named_modules()
        if getattr(child, "out_features", getattr(child, "out_channels", None)) == classes
    ]
    named = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    of_timm = [name for name in fitting if name in ([named] if isinstance(named, str) else named)]
    return tuple(of_timm or fitting[-1:])


def start_near_zero(module: nn.Module, head: tuple[str, ...]) -> None:
    """Give layers weights of N(0, 0.01^2), of the global random numbers, and no bias, in place.

    The first loss is then that of no knowledge, and the first steps do not spoil the body with gradients of chance.
    """
    for layer in map(module.get_submodule, head):
        for name, parameter in layer.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.zeros_(parameter)
            else:
                torch.nn.init.normal_(parameter, std=_NEAR_ZERO)
