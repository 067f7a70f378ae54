"""Which axis of the features at a place holds the channels: what the modules around the place say.

A convolution or a batch norm of 64 channels has features with 64 in axis 1; a Linear or a LayerNorm of 64 has them in
the last. The nearest module that fits the shape of the features decides.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from torch import nn

Side = Literal["output", "input"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)


class Claim(NamedTuple):
    """One module's word: features have their channels in axis 1, or in the last (-1).

    Attributes:
        sizes: numbers of channels that it can mean; empty: any.
        dimensions: of the features that it is about; 0: any.
        is_norm: it normalizes over these channels, which makes it a better witness than a Linear.
    """

    axis: Literal[1, -1]
    sizes: frozenset[int] = frozenset()
    dimensions: int = 0
    is_norm: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.dimensions in (0, len(shape)) and (not self.sizes or shape[self.axis] in self.sizes)


class Clues(NamedTuple):
    """What the modules around a place say, nearest first.

    Attributes:
        own: of the module at the place.
        others: of those before it, after it, and around it.
        sequence_first: attention or a recurrent layer near the place runs with batch_first=False, on [T, B, C].
    """

    own: tuple[tuple[Claim, ...], ...]
    others: tuple[tuple[Claim, ...], ...]
    sequence_first: bool

    def axes(self, shape: tuple[int, ...]) -> set[Literal[1, -1]]:
        """The axis of the channels of features of this shape; none if nobody says; both if the module at the place
        itself fits both layouts."""
        for claims in self.own:
            if found := _axes(claims, shape):
                return found
        for claims in self.others:
            if len(found := _axes(claims, shape)) == 1:
                return found
        return set()


def clues(model: nn.Module, place: str, side: Side) -> Clues:
    """Read the modules around a place, once."""
    path = [model]
    for name in place.split("."):
        path.append(path[-1].get_submodule(name))
    others: list[tuple[Claim, ...]] = []
    for parent, child in reversed(list(itertools.pairwise(path))):
        siblings = list(parent.children())
        at = next(number for number, sibling in enumerate(siblings) if sibling is child)
        for sibling in reversed(siblings[:at]):
            others += _seen_from(sibling, "output")
        for sibling in siblings[at + 1 :]:
            others += _seen_from(sibling, "input")
        others.append(_format(parent, "output"))
    return Clues(_distinct(_seen_from(path[-1], side)), _distinct(others), _sequence_first(path))


def _distinct(scopes: Iterable[tuple[Claim, ...]]) -> tuple[tuple[Claim, ...], ...]:
    return tuple(dict.fromkeys(tuple(dict.fromkeys(claims)) for claims in scopes if claims))


def _axes(claims: Iterable[Claim], shape: tuple[int, ...]) -> set[Literal[1, -1]]:
    """The axes for which there is a claim that fits; a Linear beside norms over axis 1 is inside the block, as in
    squeeze and excitation."""
    fitting = [claim for claim in claims if claim.fits(shape)]
    if any(c.axis == 1 and c.is_norm for c in fitting) and not any(c.axis == -1 and c.is_norm for c in fitting):
        return {1}
    return {claim.axis for claim in fitting}


def _seen_from(module: nn.Module, side: Side) -> Iterator[tuple[Claim, ...]]:
    """Claims of a module, in the order in which they are near its output or input; together if that is not known."""
    if isinstance(module, nn.Sequential | nn.ModuleList):
        for child in reversed(list(module)) if side == "output" else module:
            yield from _seen_from(child, side)
    else:
        yield _format(module, side)
        yield tuple(claim for part in module.modules() for claim in _claims(part))


def _claims(module: nn.Module) -> tuple[Claim, ...]:
    if isinstance(module, _CONVOLUTIONS):
        return (Claim(1, frozenset({module.in_channels, module.out_channels}), module.weight.ndim),)
    if isinstance(module, _NORMS):
        size = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        return (Claim(1, frozenset({size}), is_norm=True),)
    if isinstance(module, nn.Linear):
        return (Claim(-1, frozenset({module.in_features, module.out_features})),)
    if isinstance(module, nn.Embedding):
        return (Claim(-1, frozenset({module.embedding_dim})),)
    if isinstance(module, nn.MultiheadAttention):
        return (Claim(-1, frozenset({module.embed_dim}), 3),)
    if isinstance(module, nn.RNNBase):
        return (Claim(-1, frozenset({module.hidden_size * (2 if module.bidirectional else 1)}), 3),)
    shape = getattr(module, "normalized_shape", None)
    if isinstance(shape, tuple) and len(shape) == 1:
        # LayerNorm2d of timm and torchvision, a LayerNorm by inheritance, goes over axis 1.
        axis: Literal[1, -1] = 1 if type(module).__name__.endswith("2d") else -1
        return (Claim(axis, frozenset(shape), is_norm=True),)
    return ()


def _format(module: nn.Module, side: Side) -> tuple[Claim, ...]:
    """Of timm's `output_fmt`, such as NHWC, and torchvision's Permute."""
    order = getattr(module, "output_fmt", None)
    letters = getattr(order, "value", order)
    if side == "output" and isinstance(letters, str) and "C" in letters:
        return (Claim(-1 if letters.endswith("C") else 1, dimensions=len(letters)),)
    dims = getattr(module, "dims", None)
    if type(module).__name__ == "Permute" and isinstance(dims, list | tuple) and len(dims) > 2:
        if dims[-1] == 1:  # to the last axis
            return (Claim(-1 if side == "output" else 1, dimensions=len(dims)),)
        if dims[1] == len(dims) - 1:  # and from there
            return (Claim(1 if side == "output" else -1, dimensions=len(dims)),)
    return ()


def _sequence_first(path: list[nn.Module]) -> bool:
    """What the nearest modules with `batch_first` say: those inside the place, or those around it and beside them."""
    levels: list[Iterable[nn.Module]] = [path[-1].modules()]
    levels += [[parent, *parent.children()] for parent in reversed(path[:-1])]
    for modules in levels:
        said = [first for module in modules if isinstance(first := getattr(module, "batch_first", None), bool)]
        if said:
            return not all(said)
    return False
