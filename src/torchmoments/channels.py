"""Infer the channel axis of the features at a place from the modules at and around it.

A convolution or a batch norm of 64 channels has features with 64 in axis 1; a Linear or a LayerNorm of 64 has them in
the last. The module at the place decides; if it gives no hint or consists of other modules, the nearest hints that fit
the shape of the features decide. If a shape fits both layouts, the axis is not guessed.
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
# Common names of modules for [B, C, *positions]: MaxPool2d, LayerNorm2dNoBias, DropBlock2d.
_DIMENSIONS_IN_NAME = re.compile(r"([123])d(?![a-z])")


class Hint(NamedTuple):
    """What one module indicates: the channels of features are in axis 1, or in the last axis (-1).

    Attributes:
        axis: the axis of the channels.
        sizes: the numbers of channels for which the hint is valid; empty: any.
        dimensions: the number of dimensions of features for which it is valid; 0: any.
        is_norm: whether the module normalizes over these channels, which is better evidence than a Linear.
    """

    axis: Axis
    sizes: frozenset[int] = frozenset()
    dimensions: int = 0
    is_norm: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.dimensions in (0, len(shape)) and (not self.sizes or shape[self.axis] in self.sizes)


class LayoutHints(NamedTuple):
    """What the modules at and around a place indicate about the layout of its features.

    Attributes:
        own: hints from the type of the module at the place, which take precedence over all others.
        scopes: hints from its submodules, and from the modules before and after it, nearest first; the hints of one
            scope have the same weight.
        formats: hints from modules around it that specify their format.
        sequence_first: whether attention or a recurrent layer near the place has batch_first=False, for [T, B, C].
    """

    own: tuple[Hint, ...]
    scopes: tuple[tuple[Hint, ...], ...]
    formats: tuple[Hint, ...]
    sequence_first: bool

    def axes(self, shape: tuple[int, ...]) -> set[Axis]:
        """Return the possible channel axes for features of this shape; empty without hints, both if they disagree."""
        for hint in self.own:
            if hint.fits(shape):
                return {hint.axis}
        found: set[Axis] = set()
        for hints in self.scopes:
            if found := _axes(hints, shape):
                break
        if shape[1] == shape[-1] and any(c.axis == -1 and c.is_norm and c.fits(shape) for s in self.scopes for c in s):
            found = found | {-1}
        if len(found) != 1:
            for hint in self.formats:
                if hint.fits(shape):
                    return {hint.axis}
        return found


def layout_hints(model: nn.Module, place: str, side: Side) -> LayoutHints:
    """Collect hints from the modules at and around a place."""
    path = [model]
    for name in place.split("."):
        path.append(path[-1].get_submodule(name))
    module, parents = path[-1], path[-2::-1]
    scopes = list(_hints_in_order(module, side))
    for parent, child in zip(parents, path[:0:-1], strict=True):
        scopes += _hints_beside(parent, child)
    formats = [hint for parent in parents for hint in _hints_by_format(parent, "output")]
    return LayoutHints(
        _hints_of(_outermost(module, side), side), _distinct(scopes), tuple(formats), _sequence_first(path)
    )


def _distinct(scopes: Iterable[tuple[Hint, ...]]) -> tuple[tuple[Hint, ...], ...]:
    return tuple(dict.fromkeys(tuple(dict.fromkeys(hints)) for hints in scopes if hints))


def _axes(hints: Sequence[Hint], shape: tuple[int, ...]) -> set[Axis]:
    """Return the axes of the hints that fit a shape."""
    fitting = [hint for hint in hints if hint.fits(shape)]
    # A Linear or a convolution next to a norm is inside the block, as in squeeze and excitation.
    norms = {hint.axis for hint in fitting if hint.is_norm}
    if norms == {1} or (norms == {-1} and not any(c.is_norm and shape[1] in c.sizes for c in hints)):
        return norms
    found = {hint.axis for hint in fitting}
    # A block with channels last inside may have them in axis 1 outside, unless it only processes tokens.
    may_be_first = len(shape) > 3 or any(c.axis == 1 and c.dimensions in (0, 3) for c in hints)
    return found | {1} if may_be_first and any(shape[1] in hint.sizes for hint in hints) else found


def _outermost(module: nn.Module, side: Side) -> nn.Module:
    """Return the module whose output or input is that of a sequence of modules."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1 if side == "output" else 0]
    return module


def _hints_beside(parent: nn.Module, child: nn.Module) -> Iterator[tuple[Hint, ...]]:
    """Yield hints of the modules before and after one in a sequence, from the nearest two outwards; in other parents,
    whose order is unknown, those of all children."""
    if not isinstance(parent, nn.Sequential):
        yield tuple(_hints_of_parts(parent, without=child))
        return
    siblings = list(parent)
    at = next(number for number, sibling in enumerate(siblings) if sibling is child)
    before = [hints for sibling in reversed(siblings[:at]) for hints in _hints_in_order(sibling, "output")]
    after = [hints for sibling in siblings[at + 1 :] for hints in _hints_in_order(sibling, "input")]
    for nearest in itertools.zip_longest(filter(None, before), filter(None, after), fillvalue=()):
        yield (*nearest[0], *nearest[1])


def _hints_in_order(module: nn.Module, side: Side) -> Iterator[tuple[Hint, ...]]:
    """Yield hints of a module and its submodules, those nearest to its output or input first; all at once if the order
    is unknown."""
    if isinstance(module, nn.Sequential):
        for child in reversed(list(module)) if side == "output" else module:
            yield from _hints_in_order(child, side)
    else:
        yield _hints_of(module, side) or tuple(_hints_of_parts(module))


def _hints_of_parts(module: nn.Module, without: nn.Module | None = None) -> Iterator[Hint]:
    for part in module.children():
        if part is without or (isinstance(part, nn.BatchNorm1d) and _follows_linear(part, module)):
            continue
        yield from (*_hints_by_kind(part, "output"), *_hints_by_kind(part, "input")) or _hints_of_parts(part)


def _follows_linear(norm: nn.BatchNorm1d, parent: nn.Module) -> bool:
    """Whether a batch norm is applied to the tokens of all samples in one axis, [B * tokens, C]."""
    return any(isinstance(other, nn.Linear) and other.out_features == norm.num_features for other in parent.children())


def _hints_of(module: nn.Module, side: Side) -> tuple[Hint, ...]:
    return (*_hints_by_format(module, side), *_hints_by_kind(module, side), *_hints_by_name(module))


def _hints_by_kind(module: nn.Module, side: Side) -> tuple[Hint, ...]:
    """Return hints from the type of a module and its width."""
    is_output = side == "output"
    if isinstance(module, _CONVOLUTIONS):
        return (Hint(1, frozenset({module.out_channels if is_output else module.in_channels}), module.weight.ndim),)
    if isinstance(module, _NORMS):
        size = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        return (Hint(1, frozenset({size}), _dimensions(module), is_norm=True),)
    if isinstance(module, nn.Linear):
        return (Hint(-1, frozenset({module.out_features if is_output else module.in_features})),)
    if isinstance(module, nn.Embedding):
        return (Hint(-1, frozenset({module.embedding_dim})),) if is_output else ()
    if isinstance(module, nn.MultiheadAttention):
        return (Hint(-1, frozenset({module.embed_dim}), 3),)
    if isinstance(module, nn.RNNBase):
        width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
        return (Hint(-1, frozenset({width if is_output else module.input_size}), 3),)
    shape = getattr(module, "normalized_shape", None)
    if isinstance(shape, tuple) and len(shape) == 1:
        # A LayerNorm over axis 1, such as timm's and torchvision's LayerNorm2d.
        is_first = _dimensions(module) or getattr(module, "data_format", None) == "channels_first"
        return (Hint(1 if is_first else -1, frozenset(shape), _dimensions(module), is_norm=True),)
    return ()


def _hints_by_name(module: nn.Module) -> tuple[Hint, ...]:
    """Return hints from the name of a module without submodules: pooling, padding, dropout of channels."""
    if next(module.children(), None) is None and (dimensions := _dimensions(module)):
        return (Hint(1, dimensions=dimensions),)
    return (Hint(1),) if isinstance(module, nn.Upsample | nn.PixelShuffle | nn.PixelUnshuffle) else ()


def _dimensions(module: nn.Module) -> int:
    """Return the number of dimensions of features [B, C, *positions] from a module's class name; 0 if not in it."""
    found = _DIMENSIONS_IN_NAME.search(type(module).__name__)
    return 2 + int(found[1]) if found else 0


def _hints_by_format(module: nn.Module, side: Side) -> tuple[Hint, ...]:
    """Return hints from timm's `output_fmt`, such as NHWC, and torchvision's Permute."""
    order = getattr(module, "output_fmt", None)
    letters = getattr(order, "value", order)
    if side == "output" and isinstance(letters, str) and "C" in letters:
        return (Hint(-1 if letters.endswith("C") else 1, dimensions=len(letters)),)
    dims = getattr(module, "dims", None)
    if type(module).__name__ == "Permute" and isinstance(dims, list | tuple) and len(dims) > 2:
        if dims[-1] == 1:  # to the last axis
            return (Hint(-1 if side == "output" else 1, dimensions=len(dims)),)
        if dims[1] == len(dims) - 1:  # from the last axis
            return (Hint(1 if side == "output" else -1, dimensions=len(dims)),)
    return ()


def _sequence_first(path: list[nn.Module]) -> bool:
    """Whether the nearest modules with `batch_first`, inside the place or around it, have it set to False."""
    levels: list[Iterable[nn.Module]] = [path[-1].modules()]
    levels += [[parent, *parent.children()] for parent in reversed(path[:-1])]
    for modules in levels:
        values = [first for module in modules if isinstance(first := getattr(module, "batch_first", None), bool)]
        if values:
            return not all(values)
    return False
