"""The class and register tokens in front of an image's tokens: how many there are at a place.

Modules define how many they add, and how many patches an image has. The number of tokens of the features tells whether
the class token has been added at a place; before that, there are none to leave out.
"""

import re
from typing import NamedTuple

from torch import nn

_NAME = re.compile(r"(cls|class|dist|distillation|reg|register)_(tokens?|embedding)_?\d*")


class Tokens(NamedTuple):
    """The tokens that the modules around a place add in front of an image's tokens.

    Attributes:
        number: how many.
        patches: possible numbers of tokens of an image; None if the user specified `number`.
    """

    number: int
    patches: frozenset[int] | None = None

    def before_image(self, place: str, tokens: int) -> int:
        """Return how many of the tokens at a place are not of the image.

        Raises:
            ValueError: the number cannot be inferred, or no other tokens are left.
        """
        if self.number == 0 or (self.patches is not None and tokens in self.patches):
            return 0
        if self.patches is None:
            if tokens <= self.number:
                raise ValueError(
                    f"the features at {place!r} need more tokens than the {self.number} prefix tokens; got {tokens}. "
                    "Use prefix_tokens=0."
                )
            return self.number
        if tokens - self.number in self.patches:
            return self.number
        known = f"of {sorted(self.patches)[0]} patches" if len(self.patches) == 1 else "whose patches are not known"
        raise ValueError(
            f"the features at {place!r} have {tokens} tokens, in a network {known} that has {self.number} more for "
            f"classes or registers, so it is unknown how many of these must not be mixed. Use prefix_tokens="
            f"{self.number} if they all come first, or prefix_tokens=0."
        )


def tokens_around(model: nn.Module, place: str) -> Tokens:
    """Read the tokens from the nearest module around a place that has some: timm's number, or its parameters."""
    path = place.split(".")
    for module in (model.get_submodule(".".join(path[:depth])) for depth in reversed(range(len(path) + 1))):
        number = getattr(module, "num_prefix_tokens", None)
        if not isinstance(number, int):
            number = _tokens_inside(module)
        if number is not None:
            return Tokens(number, _patches_inside(module))
    return Tokens(0)


def _tokens_inside(module: nn.Module) -> int | None:
    """Count the tokens that are parameters, of shape [1, tokens, C], [tokens, C] or [C]."""
    found = [
        parameter.shape[-2] if parameter.ndim > 1 else 1
        for name, parameter in module.named_parameters()
        if any(_NAME.fullmatch(part) for part in name.split("."))
    ]
    return sum(found) if found else None


def _patches_inside(module: nn.Module) -> frozenset[int]:
    found = {number for part in module.modules() if isinstance(number := getattr(part, "num_patches", None), int)}
    length = getattr(module, "seq_length", None)  # of torchvision, with its class token
    if not found and isinstance(length, int):
        found.add(length - 1)
    return frozenset(found)
