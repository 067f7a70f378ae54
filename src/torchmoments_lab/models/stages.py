"""The places of a method whose spec names none: those of its source, as far as a network has them."""

import re

from torch import nn

import torchmoments as tm

# layer1, stages.0, stage1, features.stage1, s1, blocks.0, block1, denseblock1; not block.0, which is inside a block
_STAGE = re.compile(r"(?:.*\.)?(?:layer|stages?[._]?|s|blocks[._]?|block|denseblock)\d+")
# layer2.0.downsample.0, layer2.shortcut.0, stage2.unit1.identity_conv.conv, block2-0.proj.0, transition1.conv
_BESIDE = re.compile(r"(?:.*[._])?(?:downsample|shortcut|identity|skip|trans(?:ition)?\d+)(?:[._].*)?|.*\.proj\.0")

_LISTS = (nn.Sequential, nn.ModuleList)


def usual_places(mixer: tm.Mixer, model: nn.Module) -> tuple[str, ...] | None:
    """The places of a method by its source; None: after the stem.

    MoEx after the stem; MixStyle and EFDMix after the first two stages; DSU after the first convolution, the first
    pooling and every stage; CrossNorm after every block of every stage; Permuted AdaIN after every convolution, but for
    those of shortcuts and of DenseNet's transitions. In a network without stages that can be told by their names, after
    the stem.
    """
    found = stages(model)
    if isinstance(mixer, tm.PermutedAdaIN):
        return tuple(name for name in _convolutions(model) if not _is_beside(name, model)) or None
    if not found:
        return None
    if isinstance(mixer, tm.MixStyle | tm.EFDMix):
        return tuple(found[:2])
    if isinstance(mixer, tm.DSU) and _convolutions(model):
        return (_convolutions(model)[0], *_first_pooling(model, found[0]), *found)
    if isinstance(mixer, tm.CrossNorm):
        return tuple(block for stage in found for block in blocks(stage, model.get_submodule(stage)))
    return None


def stages(model: nn.Module) -> list[str]:
    """Names of the outermost modules that are numbered as stages are, in their order."""
    found: list[str] = []
    for name, _ in model.named_modules():
        if _STAGE.fullmatch(name) and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found


def blocks(name: str, module: nn.Module) -> list[str]:
    """The modules of several layers that a stage runs in turn, in a list or, in timm, in one called `blocks`.

    Any other module is a block itself.
    """
    if isinstance(getattr(module, "blocks", None), _LISTS):
        return blocks(f"{name}.blocks", module.get_submodule("blocks"))
    if not isinstance(module, _LISTS):
        return [name]
    inside = [(f"{name}.{key}", child) for key, child in module.named_children() if any(child.children())]
    return [block for path, child in inside for block in blocks(path, child)] or [name]


def _convolutions(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def _is_beside(name: str, model: nn.Module) -> bool:
    """Whether a convolution is none of those that are followed by Permuted AdaIN: 1 x 1, with a name that says so."""
    return getattr(model.get_submodule(name), "kernel_size", None) == (1, 1) and bool(_BESIDE.fullmatch(name))


def _first_pooling(model: nn.Module, stage: str) -> list[str]:
    """The pooling between the first convolution and the first stage; networks for small images have none."""
    before = [name for name, _ in model.named_modules()]
    before = before[: before.index(stage)]
    pooling = (nn.MaxPool2d, nn.AvgPool2d)
    return [name for name in before if isinstance(model.get_submodule(name), pooling)][:1]
