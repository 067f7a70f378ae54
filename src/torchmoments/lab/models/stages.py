"""Where a method goes when its word does not say: the places of its source, as far as a network has them."""

import re

from torch import nn

import torchmoments as tm

# layer1, stages.0, stage1, features.stage1, s1, blocks.0, denseblock1, features.denseblock1
_STAGE = re.compile(r"(?:.*\.)?(?:layer|stages?[._]?|s|blocks?[._]?|denseblock)\d+")


def usual_places(mixer: tm.Mixer, model: nn.Module) -> tuple[str, ...] | None:
    """The places of a method by its source; None: after the stem.

    MoEx after the stem; MixStyle and EFDMix after the first two stages; DSU after the first convolution and every
    stage; CrossNorm after every stage; Permuted AdaIN after every convolution. In a network without stages that can be
    told by their names, after the stem.
    """
    found = stages(model)
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    if isinstance(mixer, tm.PermutedAdaIN) and convolutions:
        return tuple(convolutions)
    if isinstance(mixer, tm.MixStyle | tm.EFDMix) and found:
        return tuple(found[:2])
    if isinstance(mixer, tm.DSU) and found and convolutions:
        return (convolutions[0], *found)
    if isinstance(mixer, tm.CrossNorm) and found:
        return tuple(found)
    return None


def stages(model: nn.Module) -> list[str]:
    """Names of the outermost modules that are numbered as stages are, in their order."""
    found: list[str] = []
    for name, _ in model.named_modules():
        if _STAGE.fullmatch(name) and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found
