"""Finding the features at a place in a module's input or output, and viewing them as [B, C, *positions]."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.channels import LayoutHints, Side, layout_hints
from torchmoments.tokens import Tokens, tokens_around

Mix = Callable[[Tensor, Tensor | None], Tensor]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the features at a place are laid out, as specified by the user or inferred from the modules around it.

    Made by `layout_of`. The channel axis may depend on the shape of the features, so ask with them: `channel_axis(x)`.

    Attributes:
        place: name of the module.
        channel_dim: the axis of the channels if the user specified it; None if it is inferred.
        tokens: class and register tokens in front of the image's tokens.
        hints: what the modules at and around the place indicate about the channel axis.
    """

    place: str
    channel_dim: int | None
    tokens: Tokens
    hints: LayoutHints

    def apply(
        self, mix: Mix, x: Tensor, mask: Tensor | None = None, *, batch_size_was_inferred: bool = False
    ) -> Tensor:
        """Apply a function to a view of features with channels first and without prefix tokens.

        Args:
            mix: a function (features [B, C, *positions], mask or None) that returns features of the same shape.
            x: features in the layout of the place. Not modified.
            mask: [B, *positions], passed to `mix` without prefix tokens.
            batch_size_was_inferred: whether the batch size was read from the input of the model, where it may be the
                number of positions.

        Returns:
            The result of `mix` in the layout of x, with prefix tokens unchanged.

        Raises:
            ValueError: the layout cannot be inferred, or does not fit x.
        """
        dim = self.channel_axis(x)
        if dim != 2 or x.ndim != 3:
            return mix(x.movedim(dim, 1), mask).movedim(1, dim)
        if self.hints.sequence_first:
            self._check_batch_is_first(x, batch_size_was_inferred)
        prefix = self.tokens.before_image(self.place, x.shape[1])
        if prefix == 0:
            return mix(x.movedim(2, 1), mask).movedim(1, 2)
        if mask is not None and mask.ndim == 2 and mask.shape[1] == x.shape[1]:
            mask = mask[:, prefix:]
        mixed = mix(x[:, prefix:].movedim(2, 1), mask).movedim(1, 2)
        return torch.cat([x[:, :prefix], mixed], 1)

    def _check_batch_is_first(self, x: Tensor, batch_size_was_inferred: bool) -> None:
        """Raise ValueError if the batch may be the second axis: modules around the place have batch_first=False."""
        around = (
            f"the features at {self.place!r} are {list(x.shape)}, and modules around it have batch_first=False, so "
        )
        if x.shape[0] == x.shape[1]:
            raise ValueError(
                f"{around}samples and positions cannot be told apart. Use batch_first=True, or another batch size; or "
                "channel_dim=1 if they are [B, C, T]."
            )
        if batch_size_was_inferred:
            raise ValueError(
                f"{around}the {x.shape[0]} may be positions. Use batch_first=True; or `with site.mixing(batch_size):` "
                "around the forward if the batch is first at this place."
            )

    def channel_axis(self, x: Tensor) -> int:
        """Return the channel axis of features x at this place, counted from the front: 1 for [B, C, *positions].

        Raises:
            ValueError: the axis cannot be inferred, or x does not have it.
        """
        if self.channel_dim is not None:
            if not -x.ndim <= self.channel_dim < x.ndim or self.channel_dim % x.ndim == 0:
                raise ValueError(
                    f"channel_dim needs an axis of the features at {self.place!r} other than the batch, shape "
                    f"{list(x.shape)}; got {self.channel_dim}. Use 1 or -1."
                )
            return self.channel_dim % x.ndim
        if x.ndim == 2:
            return 1
        axes = self.hints.axes(tuple(x.shape))
        if len(axes) == 1:
            (axis,) = axes
            return axis % x.ndim
        if axes or x.ndim == 3:
            positions = "T" if x.ndim == 3 else "*positions"
            raise ValueError(
                f"the features at {self.place!r} are {list(x.shape)}, which may be [B, C, {positions}] or "
                f"[B, {'tokens' if x.ndim == 3 else positions}, C]. Say which, with channel_dim=1 or channel_dim=-1."
            )
        return 1


def layout_of(
    model: nn.Module,
    place: str,
    side: Side = "output",
    *,
    channel_dim: int | None = None,
    prefix_tokens: int | None = None,
) -> Layout:
    """Return the layout of the features at a place, as `attach` uses it.

    Args:
        model: any model.
        place: name of a module of the model.
        side: whether the features are the output or the input of the module.
        channel_dim: 1 for [B, C, *positions], -1 for [B, *positions, C]; None: inferred from the modules at and around
            the place.
        prefix_tokens: number of tokens in front of the image's tokens, in features [B, tokens, C]; None: inferred.

    Raises:
        AttributeError: the model has no module `place`.
    """
    tokens = tokens_around(model, place) if prefix_tokens is None else Tokens(prefix_tokens)
    return Layout(place, channel_dim, tokens, layout_hints(model, place, side))


def replace_features(value: Any, key: int | str | None, place: str, change: Callable[[Tensor], Tensor]) -> Any:
    """Copy the output or input of a module with changed features under `key`; the original is not modified.

    Raises:
        ValueError: there are no features under `key`.
    """
    if key is None and isinstance(value, Tensor):
        return change(value)
    features = _pick(value, key)
    if not isinstance(features, Tensor) or not features.is_floating_point():
        keys = _keys(value)
        advice = f"with one of {keys}" if keys else "with the name of the argument that they are given as"
        raise ValueError(
            f"the features at {place!r} need to be a floating point tensor; got {_describe(value)} with "
            f"output={key!r}. Use attach(..., output=...) {advice}."
        )
    mixed = change(features)
    if mixed is features:
        return value
    if isinstance(value, tuple):
        return _replace_in_tuple(value, key, mixed)
    replaced = copy.copy(value)
    if isinstance(value, (Mapping, list)):
        if isinstance(value, Mapping) and isinstance(key, int):
            key = list(value)[key]
        replaced[key] = mixed
    else:
        # Works for a frozen dataclass too; this is a copy.
        object.__setattr__(replaced, str(key), mixed)
    return replaced


def _replace_in_tuple(value: Any, key: int | str | None, mixed: Tensor) -> Any:
    if isinstance(key, str):
        return value._replace(**{key: mixed})
    parts = list(value)
    parts[key] = mixed  # type: ignore[index]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _pick(value: Any, key: int | str | None) -> Any:
    try:
        if isinstance(value, Mapping) and isinstance(key, int):
            return list(value.values())[key]
        if isinstance(value, Mapping) or (isinstance(value, (tuple, list)) and isinstance(key, int)):
            return value[key]  # type: ignore[index]
        return getattr(value, key) if isinstance(key, str) else None
    except (KeyError, IndexError, AttributeError):
        return None


def _keys(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(map(repr, value))
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, range(len(value))))
    return ", ".join(map(repr, getattr(value, "__dict__", {})))


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor"
    return type(value).__name__
