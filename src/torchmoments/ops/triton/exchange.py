"""The exchange as an operator, `torch.ops.torchmoments.exchange`, with its fake and its gradient.

Only x, in its own dtype, and the moments are saved for backward. Nothing here waits for the device or allocates
depending on data, so it can be recorded in a CUDA graph.
"""

from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import reference
from torchmoments.ops.closed_form import coefficients, has_closed_form
from torchmoments.ops.reference import Moments, for_samples
from torchmoments.ops.settings import Settings
from torchmoments.ops.triton import chunk_kernels, exchange_kernels
from torchmoments.ops.triton.launch import Launch, check_runs, chunk_moments, chunk_renormalize, chunk_sums
from torchmoments.ops.triton.walk import power_of_2


def exchange(
    x: Tensor, partner: Tensor, mixed: Tensor | None, own_weight: Tensor | float, settings: Settings
) -> Tensor:
    """`reference.exchange`.

    Raises:
        RuntimeError: x is on the CPU and Triton's interpreter is off, or the kernels cannot walk over it.
    """
    check_runs(x, settings.axes)
    weight: Tensor | None = None
    if isinstance(own_weight, Tensor):
        weight = own_weight.to(reference.statistics_type(x))
    elif own_weight != 0.0:
        weight = x.new_full(x.shape[:1], own_weight, dtype=reference.statistics_type(x))
    # Operators accept only plain values.
    axes, eps, grad, positive_only, moment = settings
    outputs = _exchange(x, partner, mixed, weight, list(axes), eps, grad, positive_only, moment)
    y: Tensor = outputs[0]
    return y


@torch.library.custom_op(
    "torchmoments::exchange",
    mutates_args=(),
    schema="(Tensor x, Tensor partner, Tensor? mixed, Tensor? weight, int[] axes, float eps, str grad, "
    "bool positive_only, str moment) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _exchange(
    x: Tensor,
    partner: Tensor,
    mixed: Tensor | None,
    weight: Tensor | None,
    axes: list[int],
    eps: float,
    grad: str,
    positive_only: bool,
    moment: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute y, and the mean, std and (positive_only) count of every moment, [B, moments] in the order of the walk."""
    y = torch.empty_like(x)
    over = Launch(y, axes)
    x = over.stepping(x)
    if over.tiles.chunked:
        own, count = chunk_moments(over, x, eps, positive_only)
        changed = _changed(own, partner, mixed, count if positive_only else None)
        new = _new_moments(own, partner, weight, moment)
        chunk_renormalize(over, x, y, own, new, changed)
        return y, own.mean, own.std, count if positive_only else count.new_empty(0)
    mean, std = over.moments(x), over.moments(x)
    count = over.moments(x) if positive_only else mean.new_empty(0)
    over.run(
        exchange_kernels.exchange_forward,
        x, partner, x if mixed is None else mixed, x if weight is None else weight, y, mean, std, count,
        batches=(x, y),
        EPS=eps, POSITIVE=positive_only, MIXED=mixed is not None, WEIGHTED=weight is not None,
        MEAN=moment != "std", STD=moment != "mean", WHOLE=over.tiles.whole,
    )  # fmt: skip
    return y, mean, std, count


@_exchange.register_fake
def _(
    x: Tensor,
    partner: Tensor,
    mixed: Tensor | None,
    weight: Tensor | None,
    axes: list[int],
    eps: float,
    grad: str,
    positive_only: bool,
    moment: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    moments = 1
    for axis in range(1, x.ndim):
        moments *= 1 if axis in axes else x.shape[axis]
    mean = x.new_empty((x.shape[0], moments), dtype=reference.statistics_type(x))
    count = torch.empty_like(mean) if positive_only else mean.new_empty(0)
    return torch.empty_like(x), mean, torch.empty_like(mean), count


def _keep_for_exchange_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, partner, mixed, weight, *ctx.settings = inputs
    _, mean, std, count = output
    ctx.save_for_backward(x, partner, mixed, weight, mean, std, count)
    ctx.mark_non_differentiable(mean, std, count)
    ctx.set_materialize_grads(False)


def _differentiate_exchange(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    x, partner, mixed, weight, mean, std, count = ctx.saved_tensors
    axes, eps, grad, positive_only, moment = ctx.settings
    dx: Tensor | None = None
    if g is not None and not has_closed_form(g):
        settings = Settings(tuple(axes), eps, grad, positive_only, moment)
        own_weight = 0.0 if weight is None else weight
        (dx,) = reference.gradients(lambda x: reference.exchange(x, partner, mixed, own_weight, settings), [x], [g])
    elif g is not None:
        dx = _exchange_backward(g, x, partner, mixed, weight, mean, std, count, axes, grad, positive_only, moment)
    return (dx, *[None] * 8)


_exchange.register_autograd(_differentiate_exchange, setup_context=_keep_for_exchange_backward)


@torch.library.custom_op(
    "torchmoments::exchange_backward",
    mutates_args=(),
    schema="(Tensor g, Tensor x, Tensor partner, Tensor? mixed, Tensor? weight, Tensor mean, Tensor std, Tensor count, "
    "int[] axes, str grad, bool positive_only, str moment) -> Tensor",
)
def _exchange_backward(
    g: Tensor,
    x: Tensor,
    partner: Tensor,
    mixed: Tensor | None,
    weight: Tensor | None,
    mean: Tensor,
    std: Tensor,
    count: Tensor,
    axes: list[int],
    grad: str,
    positive_only: bool,
    moment: str,
) -> Tensor:
    dx = torch.empty_like(x)
    over = Launch(dx, axes)
    x, g = over.stepping(x), over.stepping(g)
    if over.tiles.chunked:
        own = Moments(mean, std)
        changed = _changed(own, partner, mixed, count if positive_only else None)
        new_std = _new_moments(own, partner, weight, moment).std
        g1, g2 = chunk_sums(over, x, g, own)
        own_weight = 0.0 if weight is None else for_samples(weight, mean)
        weights = reference.weights_of(own_weight, moment)
        k, c1, c2 = coefficients(g1, g2, new_std / std, partner, changed, weights, grad)
        divisors = (count.clamp(min=1),) * 2 if positive_only else (over.walk.values, over.walk.values - 1)
        over.run(
            chunk_kernels.chunk_gradient, x, g, mean, k, c1 / divisors[0], c2 / divisors[1] / std, dx,
            batches=(x, g, dx), POSITIVE=positive_only,
        )  # fmt: skip
        return dx
    over.run(
        exchange_kernels.exchange_backward,
        x, g, partner, x if mixed is None else mixed, x if weight is None else weight, mean, std, count, dx,
        batches=(x, g, dx),
        POSITIVE=positive_only, MIXED=mixed is not None, WEIGHTED=weight is not None,
        MEAN=moment != "std", STD=moment != "mean", OWN=grad in ("both", "own"), DONOR=grad in ("both", "donor"),
        WHOLE=over.tiles.whole, SAMPLES=power_of_2(x.shape[0]),
    )  # fmt: skip
    return dx


@_exchange_backward.register_fake
def _(g: Tensor, x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _changed(own: Moments, partner: Tensor, mixed: Tensor | None, count: Tensor | None) -> Tensor | None:
    """Return which moments are exchanged, [B, moments] or [B, 1]; None if all are."""
    changed = None if mixed is None else for_samples(mixed, own.mean)
    if count is None:
        return changed
    has_moments = (count > 0) & (count > 0)[partner]
    return has_moments if changed is None else has_moments & changed


def _new_moments(own: Moments, partner: Tensor, weight: Tensor | None, moment: str) -> Moments:
    return reference.blend(own, own, partner, *reference.weights_of(0.0 if weight is None else weight, moment))
