"""Where a method goes by default: the paper's place, after the stem and before the first stage.

It is found by running the model once. The first stage is told by its name, which differs between families; the place is
the last module that ends before that stage begins.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Names of first stages, alone or at the end of a longer name.
_STAGES = re.compile(
    r"(.*\.)?(layer1|s1|level0|stages?_?[12]?|stages[._]0|blocks?|blocks?[._]0|block1|layers|layers[._]0"
    r"|encoder|encoder\.layers|trunk|trunk_output|network|denseblock1|features\.1|inception3a|Mixed_5b)"
)


def default_place(model: nn.Module, x: Tensor) -> str:
    """The name of the last module that ends before the first stage begins.

    Args:
        model: any model. Its mode, buffers and parameters stay as they are.
        x: images as the model gets them.

    Raises:
        ValueError: there is no stage with a known name, or nothing runs before it.
    """
    ended: list[str] = []
    found: list[str] = []

    def start(name: str) -> None:
        if ended and _STAGES.fullmatch(name):
            found.append(ended[-1])

    with _watched(model, start, lambda name, output: ended.append(name)):
        model(x)
    if not found:
        raise ValueError(
            f"the place after the stem was not found in {type(model).__name__}. Write it in the method: "
            "moex:at=NAME. All names: torchmoments.places(model)."
        )
    return found[0]


def channel_dim_of(model: nn.Module, x: Tensor, names: list[str]) -> int | None:
    """-1 where features of these modules are [B, *positions, C], 1 where they are [B, C, *positions]; None: unknown.

    A layer normalization over the last axis tells: its length is the number of channels. Features of three axes are
    [B, C, T] where a convolution over T, or its batch normalization, has as many channels as their second axis, and no
    layer as many as their third.
    """
    shapes: dict[str, torch.Size] = {}
    with _watched(model, lambda name: None, lambda name, output: shapes.setdefault(name, output.shape)):
        model(x)
    last = {m.normalized_shape[-1] for m in model.modules() if isinstance(m, nn.LayerNorm)}
    first = {m.out_channels for m in model.modules() if isinstance(m, nn.Conv1d)}
    first |= {m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm1d)}
    linear = {m.in_features for m in model.modules() if isinstance(m, nn.Linear)}
    found = [shapes[name] for name in names if name in shapes and len(shapes[name]) in (3, 4)]
    if found and all(shape[-1] in last and shape[1] not in last for shape in found):
        return -1
    over_time = [shape[1] in first and shape[2] not in first | last | linear for shape in found if len(shape) == 3]
    return 1 if found and all(over_time) else None


@contextmanager
def _watched(model: nn.Module, start: Callable[[str], object], end: Callable[[str, Tensor], object]) -> Iterator[None]:
    """Eval mode without gradient; `start(name)` before each module runs, `end(name, output)` after, if a tensor."""
    modes = {module: module.training for module in model.modules()}
    handles = []
    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda m, a, name=name: (start(name), None)[1]))
            handles.append(
                module.register_forward_hook(
                    lambda m, a, out, name=name: (end(name, out) if isinstance(out, Tensor) else None, None)[1]
                )
            )
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
