"""The values that one moment averages over.

A norm is a name ("pono", "in", "ln", "gn<G>", "gn-d<K>", "gpono<G>", "gpono-d<K>") or a tuple of axes. Here it
is turned into a view of the features in which a moment is a reduction over whole axes: groups split the
channel axis in two, [B, G, C / G, *positions].
"""

from typing import Literal, NamedTuple

from torch import Tensor

# The names without a number are listed for completion in editors; `str` allows those with one, such as "gn<G>".
Norm = Literal["pono", "in", "ln"] | str | tuple[int, ...]

WORDS = "pono, in, ln, gn<groups>, gn-d<channels>, gpono<groups>, gpono-d<channels>, or a tuple of axes"


class Grouped(NamedTuple):
    """A view of features in which one moment reduces `axes`."""

    view: Tensor
    axes: tuple[int, ...]
    grouped: bool
    channel_dim: int

    def restore(self, result: Tensor) -> Tensor:
        """Convert a tensor in the shape of `view` back to the layout of the features."""
        flat = result.flatten(1, 2) if self.grouped else result
        return flat.movedim(1, self.channel_dim)

    def broadcast(self, moment: Tensor) -> Tensor:
        """Convert a moment of `view` to a shape that broadcasts against the features."""
        if self.grouped:
            moment = moment.expand(-1, -1, self.view.shape[2], *moment.shape[3:])
        return self.restore(moment)


def check_norm(norm: Norm) -> None:
    """Raise ValueError if `norm` is invalid for any features."""
    if isinstance(norm, str):
        _word_and_size(norm)
    elif not (isinstance(norm, tuple) and norm and all(type(axis) is int for axis in norm)):
        raise ValueError(f"norm needs one of {WORDS}; got {norm!r}.")
    elif 0 in norm or len(set(norm)) < len(norm):
        raise _not_axes(norm)


def group(x: Tensor, norm: Norm, channel_dim: int = 1) -> Grouped:
    """View features as [B, C, *positions], or [B, G, C / G, *positions], with the axes of one moment.

    Raises:
        ValueError: `norm` is unknown, its groups do not divide the channels, its axes are not axes of x
            or include the batch, or a moment would be over fewer than two values.
    """
    if isinstance(norm, str):
        grouped = _group_by_word(x.movedim(channel_dim, 1), norm, channel_dim)
    else:
        grouped = Grouped(x.movedim(channel_dim, 1), _axes_of_view(x, norm, channel_dim), False, channel_dim)
    count = 1
    for axis in grouped.axes:
        count *= grouped.view.shape[axis]
    if count < 2:
        raise ValueError(
            f"a moment needs two values or more; norm={norm!r} takes it over {count} of features of shape "
            f"{list(x.shape)}. Use a norm over more values, or a place with more channels or positions."
        )
    return grouped


def _group_by_word(x: Tensor, norm: str, channel_dim: int) -> Grouped:
    word, size = _word_and_size(norm)
    if word == "pono":
        return Grouped(x, (1,), False, channel_dim)
    if word == "in":
        return Grouped(x, tuple(range(2, x.ndim)), False, channel_dim)
    if word == "ln":
        return Grouped(x, tuple(range(1, x.ndim)), False, channel_dim)
    channels = x.shape[1]
    if channels % size:
        raise ValueError(
            f"norm={norm!r} needs a number of channels that {size} divides; got {channels} channels. "
            f"Use a divisor of {channels}."
        )
    groups = channels // size if word.endswith("-d") else size
    view = x.unflatten(1, (groups, channels // groups))  # type: ignore[no-untyped-call]
    axes = (2,) if word.startswith("gpono") else tuple(range(2, view.ndim))
    return Grouped(view, axes, True, channel_dim)


def _word_and_size(norm: str) -> tuple[str, int]:
    if norm == "bn":
        raise ValueError(
            'norm="bn" has moments that the whole batch shares, so there is nothing to exchange. Use "in" or "pono".'
        )
    if norm in ("pono", "in", "ln"):
        return norm, 0
    # No regular expression: the compiler of torch 2.6 cannot trace them.
    for word in ("gn-d", "gpono-d", "gn", "gpono"):
        size = norm.removeprefix(word)
        if size != norm and size.isdecimal() and int(size) > 0:
            return word, int(size)
    raise ValueError(f"norm needs one of {WORDS}; got {norm!r}.")


def _axes_of_view(x: Tensor, norm: tuple[int, ...], channel_dim: int) -> tuple[int, ...]:
    check_norm(norm)
    axes = sorted({axis % x.ndim for axis in norm if -x.ndim <= axis < x.ndim})
    if len(axes) != len(norm) or axes[0] == 0:
        raise _not_axes(norm, f" for features of shape {list(x.shape)}")
    moved = list(range(x.ndim))
    moved.insert(1, moved.pop(channel_dim))
    return tuple(sorted(moved.index(axis) for axis in axes))


def _not_axes(norm: tuple[int, ...], features: str = "") -> ValueError:
    return ValueError(
        f"norm needs distinct axes of the features, without the batch axis 0; got {norm!r}{features}. "
        "Frequency-wise moments of [B, C, F, T] are norm=(1, 3)."
    )
