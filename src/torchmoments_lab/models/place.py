"""Where a method goes by default: the paper's place, after the stem and before the first stage.

It is found by running the model. The first stage is told by its name, which differs between families; the place is the
last module that ends before that stage begins.

If a LayerNorm is there, moments over the channels are all equal, and their exchange does nothing. Blocks that
are scaled by almost nothing at first leave them so, and the next LayerNorm undoes what else was exchanged. So the place
is tried, and then the first block of each stage, until an exchange reaches the end of the network. If none does, as in
a transformer whose class token hears little of the others at first, it is the first that changes what comes next.
"""

import re

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.models.reach import LEAST, changes_after, watched
from torchmoments_lab.models.stages import blocks

# Names of first stages, alone or at the end of a longer name.
_STAGES = re.compile(
    r"(.*\.)?(layer1|s1|level0|stages?_?[12]?|stages[._]0|blocks?|blocks?[._]0([._]0)?|block1|layers|layers[._]0"
    r"|encoder|encoder\.layers|trunk|trunk_output|network|network\.0|denseblock1|features\.1|inception3a|Mixed_5b"
    r"|levels?|levels\.0|transformers?|transformers\.0|serial_blocks1|serial_blocks1\.0|mixed_5b|cell_stem_0|conv2_1)"
)
# As `LEAST`, for the output of the network.
_LEAST_AT_END = 5e-4


def default_place(model: nn.Module, x: Tensor) -> str:
    """The name of the last module that ends before the first stage begins, or of the first block that mixing reaches.

    Args:
        model: any model. Its mode, buffers and parameters stay as they are.
        x: images as the model gets them.

    Raises:
        ValueError: there is no stage with a known name, nothing runs before it, or nothing is changed in its blocks.
    """
    ended: list[str] = []
    features: list[str] = []
    found: list[tuple[str, str]] = []

    def start(name: str) -> None:
        if ended and _STAGES.fullmatch(name):
            found.append((ended[-1], name))

    def end(name: str, output: Tensor) -> None:
        if output.ndim > 2:
            features.append(name)
        if output.ndim > 2 or not found:
            ended.append(name)

    with watched(model, start, end):
        model(x)
    if not found:
        # The whole stem, and not its first layer.
        example = min(features, key=lambda name: name.count("."), default=None)
        way_out = (
            "None of its modules gives features; put an nn.Identity() where they are to be mixed."
            if example is None
            else f"Write one in the method, as in moex:at={example}; torchmoments.places(model) lists all."
        )
        raise ValueError(f"the place after the stem was not found in {type(model).__name__}. {way_out}")
    stem, stage = found[0]
    weak = None
    for name in (stem, *filter(ended.__contains__, _first_blocks(model, stage))):
        changes = changes_after(model, name, x, _exchange)
        if changes is None and name != stem:
            continue
        if changes is None or changes[-1] > _LEAST_AT_END:
            return name
        if weak is None and max(changes) > LEAST:
            weak = name
    if weak is not None:
        return weak
    raise ValueError(
        f"an exchange of moments over the channels changes nothing in {type(model).__name__} at {stem!r}, nor after "
        "the first block of a stage. Write a place or another norm in the method: moex:at=NAME,norm=in."
    )


def _exchange(x: Tensor, mask: Tensor | None) -> Tensor:
    return tm.exchange(x, torch.arange(len(x), device=x.device).roll(1), mask=mask)


def _first_blocks(model: nn.Module, stage: str) -> list[str]:
    """The first block of this stage, and of every later one."""
    parent, _, first = stage.rpartition(".")
    names = [name for name, _ in model.get_submodule(parent).named_children()]
    paths = [f"{parent}.{name}" if parent else name for name in names[names.index(first) :]]
    found = [block for path in paths for block in blocks(path, model.get_submodule(path))]
    by_stage = {block.rpartition(".")[0]: block for block in reversed(found)}
    return [name for name in found if name in by_stage.values() and any(model.get_submodule(name).children())]
