"""Renormalization as an operator, `torch.ops.torchmoments.renormalize`, with its fake and its gradient.

One pass in each direction: the gradients of all four moments are computed from G1 = sum g and G2 = sum g h, and dx
needs neither.
"""

from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.ops.closed_form import has_closed_form
from torchmoments.ops.reference import Moments
from torchmoments.ops.triton.launch import Launch, check_runs, chunk_renormalize, chunk_sums


def renormalize(x: Tensor, own: Moments, new: Moments, mixed: Tensor | None = None) -> Tensor:
    """`reference.renormalize`, for moments that broadcast against x. Axes along which none of them varies are reduced.

    Raises:
        RuntimeError: as in `exchange`.
    """
    axes = list(reference.reduced_axes(*own, *new))
    check_runs(x, tuple(axes))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    mean, std, new_mean, new_std = (moment.expand(shape) for moment in (*own, *new))
    outputs = _renormalize(x, mean, std, new_mean, new_std, None if mixed is None else mixed.expand(shape), axes)
    y: Tensor = outputs
    return y


@torch.library.custom_op(
    "torchmoments::renormalize",
    mutates_args=(),
    schema="(Tensor x, Tensor mean, Tensor std, Tensor new_mean, Tensor new_std, Tensor? mixed, int[] axes) -> Tensor",
)
def _renormalize(
    x: Tensor, mean: Tensor, std: Tensor, new_mean: Tensor, new_std: Tensor, mixed: Tensor | None, axes: list[int]
) -> Tensor:
    y = torch.empty_like(x)
    over = Launch(y, axes, chunked=True)
    own, new = Moments(over.flat(mean), over.flat(std)), Moments(over.flat(new_mean), over.flat(new_std))
    chunk_renormalize(over, over.stepping(x), y, own, new, None if mixed is None else over.flat(mixed))
    return y


@_renormalize.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op(
    "torchmoments::renormalize_backward",
    mutates_args=(),
    schema="(Tensor g, Tensor x, Tensor mean, Tensor std, Tensor new_std, Tensor? mixed, int[] axes) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _renormalize_backward(
    g: Tensor, x: Tensor, mean: Tensor, std: Tensor, new_std: Tensor, mixed: Tensor | None, axes: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute dx, and the gradients of own.mean, own.std, new.mean and new.std from G1 = sum g and G2 = sum g h."""
    dx = torch.empty_like(x)
    over = Launch(dx, axes, chunked=True)
    own, k = Moments(over.flat(mean), over.flat(std)), over.flat(new_std / std)
    changed = None if mixed is None else over.flat(mixed)
    if changed is not None:
        k = torch.where(changed, k, 1.0)
    g1, g2 = chunk_sums(over, over.stepping(x), over.stepping(g), own, k, dx)
    if changed is not None:
        g1, g2 = torch.where(changed, g1, 0.0), torch.where(changed, g2, 0.0)
    # Copies: the outputs of an operator may not share memory.
    shaped = (
        over.walk.unflat(moment, mean).clone(memory_format=torch.contiguous_format)
        for moment in (-k * g1, -k * g2, g1, g2)
    )
    return (dx, *shaped)  # type: ignore[return-value]


@_renormalize_backward.register_fake
def _(g: Tensor, x: Tensor, mean: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    moments = [mean.new_empty(mean.shape) for _ in range(4)]
    return (torch.empty_like(x), *moments)  # type: ignore[return-value]


def _keep_for_renormalize_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, mean, std, new_mean, new_std, mixed, ctx.axes = inputs
    ctx.save_for_backward(x, mean, std, new_mean, new_std, mixed)


def _differentiate_renormalize(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, mean, std, new_mean, new_std, mixed = ctx.saved_tensors
    if not has_closed_form(g):
        return (*reference.renormalize_gradients(g, x, (mean, std, new_mean, new_std), mixed), None, None)
    return (*_renormalize_backward(g, x, mean, std, new_std, mixed, ctx.axes), None, None)


_renormalize.register_autograd(_differentiate_renormalize, setup_context=_keep_for_renormalize_backward)
