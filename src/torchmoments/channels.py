"""Which axis of the features at a place holds the channels: what the modules at and around it say.

A convolution or a batch norm of 64 channels has features with 64 in axis 1; a Linear or a LayerNorm of 64 has them in
the last. What the module at the place is decides; if it says nothing or is made of others, those that fit the shape of
the features do, the nearest first. A shape that fits both layouts is nobody's to guess.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from torch import nn

Side = Literal["output", "input"]
Axis = Literal[1, -1]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
# The field's names for modules on [B, C, *positions]: MaxPool2d, LayerNorm2dNoBias, DropBlock2d.
_DIMENSIONS_IN_NAME = re.compile(r"([123])d(?![a-z])")


class Claim(NamedTuple):
    """One module's word: features have their channels in axis 1, or in the last (-1).

    Attributes:
        sizes: numbers of channels that it can mean; empty: any.
        dimensions: of the features that it is about; 0: any.
        is_norm: it normalizes over these channels, which makes it a better witness than a Linear.
    """

    axis: Axis
    sizes: frozenset[int] = frozenset()
    dimensions: int = 0
    is_norm: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.dimensions in (0, len(shape)) and (not self.sizes or shape[self.axis] in self.sizes)


class Clues(NamedTuple):
    """What the modules at and around a place say.

    Attributes:
        own: of the module at the place, by what it is, which holds where its features' shape fits others too.
        scopes: of its parts, and of the modules before and after it, nearest first; those of one scope weigh the same.
        formats: of modules around it that name their format.
        sequence_first: attention or a recurrent layer near the place runs with batch_first=False, on [T, B, C].
    """

    own: tuple[Claim, ...]
    scopes: tuple[tuple[Claim, ...], ...]
    formats: tuple[Claim, ...]
    sequence_first: bool

    def axes(self, shape: tuple[int, ...]) -> set[Axis]:
        """The axis of the channels of features of this shape; none if nobody says; both if it cannot be told."""
        for claim in self.own:
            if claim.fits(shape):
                return {claim.axis}
        found: set[Axis] = set()
        for claims in self.scopes:
            if found := _axes(claims, shape):
                break
        if shape[1] == shape[-1] and any(c.axis == -1 and c.is_norm and c.fits(shape) for s in self.scopes for c in s):
            found = found | {-1}
        if len(found) != 1:
            for claim in self.formats:
                if claim.fits(shape):
                    return {claim.axis}
        return found


def clues(model: nn.Module, place: str, side: Side) -> Clues:
    """Read the modules at and around a place, once."""
    path = [model]
    for name in place.split("."):
        path.append(path[-1].get_submodule(name))
    module, parents = path[-1], path[-2::-1]
    scopes = list(_in_order(module, side))
    for parent, child in zip(parents, path[:0:-1], strict=True):
        scopes += _beside(parent, child)
    formats = [claim for parent in parents for claim in _format(parent, "output")]
    return Clues(_of_one(_outermost(module, side), side), _distinct(scopes), tuple(formats), _sequence_first(path))


def _distinct(scopes: Iterable[tuple[Claim, ...]]) -> tuple[tuple[Claim, ...], ...]:
    return tuple(dict.fromkeys(tuple(dict.fromkeys(claims)) for claims in scopes if claims))


def _axes(claims: Sequence[Claim], shape: tuple[int, ...]) -> set[Axis]:
    """The axes for which there is a claim that fits."""
    fitting = [claim for claim in claims if claim.fits(shape)]
    # A Linear or a convolution beside a norm is inside the block, as in squeeze and excitation.
    norms = {claim.axis for claim in fitting if claim.is_norm}
    if norms == {1} or (norms == {-1} and not any(c.is_norm and shape[1] in c.sizes for c in claims)):
        return norms
    found = {claim.axis for claim in fitting}
    # A block that has its channels last inside may have them in axis 1 outside; one of tokens alone has not.
    may_be_first = len(shape) > 3 or any(c.axis == 1 and c.dimensions in (0, 3) for c in claims)
    return found | {1} if may_be_first and any(shape[1] in claim.sizes for claim in claims) else found


def _outermost(module: nn.Module, side: Side) -> nn.Module:
    """The module whose output or input is that of a sequence."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1 if side == "output" else 0]
    return module


def _beside(parent: nn.Module, child: nn.Module) -> Iterator[tuple[Claim, ...]]:
    """Of the modules before and after one in a sequence, from the nearest two outwards; otherwise of all its parent's,
    for nobody knows their order."""
    if not isinstance(parent, nn.Sequential):
        yield tuple(_of_parts(parent, without=child))
        return
    siblings = list(parent)
    at = next(number for number, sibling in enumerate(siblings) if sibling is child)
    before = [claims for sibling in reversed(siblings[:at]) for claims in _in_order(sibling, "output")]
    after = [claims for sibling in siblings[at + 1 :] for claims in _in_order(sibling, "input")]
    for nearest in itertools.zip_longest(filter(None, before), filter(None, after), fillvalue=()):
        yield (*nearest[0], *nearest[1])


def _in_order(module: nn.Module, side: Side) -> Iterator[tuple[Claim, ...]]:
    """Claims of a module and its parts, in the order in which they are near its output or input; together if that is
    not known."""
    if isinstance(module, nn.Sequential):
        for child in reversed(list(module)) if side == "output" else module:
            yield from _in_order(child, side)
    else:
        yield _of_one(module, side) or tuple(_of_parts(module))


def _of_parts(module: nn.Module, without: nn.Module | None = None) -> Iterator[Claim]:
    for part in module.children():
        if part is without or (isinstance(part, nn.BatchNorm1d) and _follows_linear(part, module)):
            continue
        yield from (*_claims(part, "output"), *_claims(part, "input")) or _of_parts(part)


def _follows_linear(norm: nn.BatchNorm1d, parent: nn.Module) -> bool:
    """Whether its features are tokens of all samples in one axis, [B * tokens, C]."""
    return any(isinstance(other, nn.Linear) and other.out_features == norm.num_features for other in parent.children())


def _of_one(module: nn.Module, side: Side) -> tuple[Claim, ...]:
    return (*_format(module, side), *_claims(module, side), *_name(module))


def _claims(module: nn.Module, side: Side) -> tuple[Claim, ...]:
    """What the kind of a module says, with its width."""
    is_output = side == "output"
    if isinstance(module, _CONVOLUTIONS):
        return (Claim(1, frozenset({module.out_channels if is_output else module.in_channels}), module.weight.ndim),)
    if isinstance(module, _NORMS):
        size = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        return (Claim(1, frozenset({size}), _dimensions(module), is_norm=True),)
    if isinstance(module, nn.Linear):
        return (Claim(-1, frozenset({module.out_features if is_output else module.in_features})),)
    if isinstance(module, nn.Embedding):
        return (Claim(-1, frozenset({module.embedding_dim})),) if is_output else ()
    if isinstance(module, nn.MultiheadAttention):
        return (Claim(-1, frozenset({module.embed_dim}), 3),)
    if isinstance(module, nn.RNNBase):
        width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
        return (Claim(-1, frozenset({width if is_output else module.input_size}), 3),)
    shape = getattr(module, "normalized_shape", None)
    if isinstance(shape, tuple) and len(shape) == 1:
        # A LayerNorm over axis 1, such as timm's and torchvision's LayerNorm2d.
        is_first = _dimensions(module) or getattr(module, "data_format", None) == "channels_first"
        return (Claim(1 if is_first else -1, frozenset(shape), _dimensions(module), is_norm=True),)
    return ()


def _name(module: nn.Module) -> tuple[Claim, ...]:
    """What the name of a module without parts says: pooling, padding, dropout of channels."""
    if next(module.children(), None) is None and (dimensions := _dimensions(module)):
        return (Claim(1, dimensions=dimensions),)
    return (Claim(1),) if isinstance(module, nn.Upsample | nn.PixelShuffle | nn.PixelUnshuffle) else ()


def _dimensions(module: nn.Module) -> int:
    """Of features [B, C, *positions], by the name of what works on them; 0 if it has none."""
    found = _DIMENSIONS_IN_NAME.search(type(module).__name__)
    return 2 + int(found[1]) if found else 0


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
