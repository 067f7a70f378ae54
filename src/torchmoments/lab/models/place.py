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
