"""Moments, the normalization F and its inverse, and the exchange built of them: argument checks and choice of backend.

Features x are [B, C, *positions]: images [B, C, H, W], sequences [B, C, T], vectors [B, C]. With channel_dim=-1
they are [B, *positions, C].
"""

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor

from torchmoments.ops import closed_form, reference
from torchmoments.ops.norms import Grouped, Norm, group
from torchmoments.ops.reference import Moments, reduced_axes, statistics_type
from torchmoments.ops.settings import BACKENDS, GRADIENTS, MOMENTS, Backend, Gradient, Moment, Settings
from torchmoments.ranks import GlobalIndex, Index
from torchmoments.torch_internals import transforms_are_active


def moments(x: Tensor, norm: Norm = "pono", *, channel_dim: int = 1, eps: float = 1e-5) -> Moments:
    """Compute the mean and standard deviation of features over the axes of a norm.

        mean = sum(x) / n,  std = sqrt(sum((x - mean)^2) / (n - 1) + eps), over the n values of one moment.

    Args:
        x: features [B, C, *positions], floating point. Not modified.
        norm: the values that one moment averages over: "pono" (channels), "in" (positions), "ln" (both), `gn<G>` and
            `gpono<G>` ("ln" and "pono" within each of G groups of channels), `gn-d<K>` and `gpono-d<K>` (groups of K
            channels), or a tuple of axes of x, such as (1, 3) for frequency-wise moments of [B, C, F, T].
        channel_dim: -1 for [B, *positions, C].
        eps: added to the variance, so in units of x squared.

    Returns:
        Moments(mean, std), both broadcasting against x; float64 for float64, else float32.

    Gradient: flows to x through both.

    Raises:
        ValueError: unknown norm, groups that do not divide the channels, or a moment over fewer than two values.
    """
    check_features(x, channel_dim)
    grouped = group(x, norm, channel_dim)
    mean, std = moments_of_view(grouped, eps)
    return Moments(grouped.broadcast(mean), grouped.broadcast(std))


def normalize(x: Tensor, norm: Norm = "pono", *, channel_dim: int = 1, eps: float = 1e-5) -> tuple[Tensor, Moments]:
    """Compute F(x) = (normalized, moments), with normalized = (x - mean) / std.

    Returns:
        normalized, with the shape, dtype and memory format of x, and the Moments of x. Arguments, gradient and errors
        are as in `moments`.
    """
    check_features(x, channel_dim)
    values = x.to(statistics_type(x))
    own = moments(values, norm, channel_dim=channel_dim, eps=eps)
    return ((values - own.mean) / own.std).to(x.dtype), own


def denormalize(normalized: Tensor, moments: Moments) -> Tensor:
    """Compute the inverse F^-1(normalized, moments) = normalized * std + mean, for every norm.

    Args:
        normalized: features as returned by `normalize`. Not modified.
        moments: mean and std that broadcast against them, from the same or other samples.

    Returns:
        Features in the dtype of `normalized`, computed in the dtype of the moments.

    Gradient: flows to all three.
    """
    mean, std = moments
    return (normalized.to(mean.dtype) * std + mean).to(normalized.dtype)


def exchange(
    x: Tensor,
    partner: Index,
    norm: Norm = "pono",
    *,
    channel_dim: int = 1,
    eps: float = 1e-5,
    grad: Gradient = "both",
    positive_only: bool = False,
    mixed: Tensor | None = None,
    own_weight: Tensor | float = 0.0,
    moment: Moment = "both",
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Give every sample the mean and standard deviation of its partner.

        With j = partner[i]:  out[i] = (x[i] - mean[i]) / std[i] * std[j] + mean[j]

    Args:
        x: features [B, C, *positions], floating point. Not modified.
        partner: [B] int64 on x's device; partners may repeat. `arange(B)` changes x by rounding only. Or the partners
            of a draw that are samples of other ranks.
        norm: the values that one moment averages over, see `moments`.
        channel_dim: -1 for [B, *positions, C].
        eps: added to the variance, so in units of x squared.
        grad: the moments through which the gradient flows: "both", "own", "donor" or "none".
        positive_only: compute moments over positive values only (with the biased variance), and apply them to all
            values. If a moment has no positive values, own or donor's, the values are not changed.
        mixed: [B] bool, the samples whose moments are exchanged; the others pass bit for bit. If None, all are.
        own_weight: weight of a sample's own moments, a number or [B]: 0 is a full exchange, 1 changes nothing. It gets
            no gradient.
        moment: which moments are exchanged: "both", "mean" or "std"; the other one stays the sample's own.
        mask: [B, *positions], True or 1 for features, False or 0 for padding. Padding is excluded from all moments,
            whatever its values, and passes bit for bit. If a moment, own or donor's, has fewer than two values left,
            the values are not changed.
        backend: "reference" is the plain formula, "compiled" the same under `torch.compile`, "triton" a Triton kernel.
            "auto" never compiles: it uses the plain formula inside `torch.compile`, Triton on CUDA if it is installed
            and supports the dtype and layout, and otherwise the formula with a closed-form backward.

    Returns:
        Features with the shape, dtype and memory format of x. Computed in float32 (float64 for float64).

    Gradient: flows to x[i] and, through mean[j] and std[j], to x[j], as `grad` says.

    Raises:
        ValueError: partner is not int64 [B] on x's device, mask is not [B, *positions], backend="triton" with a mask,
            backend="compiled" with partners of other ranks, grad, moment or backend is unknown, or as in `moments`.
        RuntimeError: backend="compiled" and no C++ compiler is found, or backend="triton" and x is not on a GPU or the
            axes of the norm are too scattered in memory.
        ImportError: backend="triton" and Triton is not installed.

    Source: Li et al., "On Feature Normalization and Data Augmentation", CVPR 2021.
    """
    check_features(x, channel_dim)
    _check_partner(x, partner)
    _check_mixed(x, mixed)
    if grad not in GRADIENTS:
        raise ValueError(f"grad needs one of {', '.join(GRADIENTS)}; got {grad!r}.")
    if moment not in MOMENTS:
        raise ValueError(f"moment needs one of {', '.join(MOMENTS)}; got {moment!r}.")
    if x.shape[0] == 0:
        return x.clone()
    own_weight = own_weight.detach() if isinstance(own_weight, Tensor) else float(own_weight)
    grouped = group(x, norm, channel_dim)
    settings = Settings(grouped.axes, eps, grad, positive_only, moment)
    if isinstance(partner, GlobalIndex):
        if backend == "compiled":
            raise ValueError('backend="compiled" takes no partners of other ranks. Use backend="auto".')
        if mask is None and not positive_only:
            return grouped.restore(_exchange_over_ranks(grouped, partner, mixed, own_weight, settings, backend))
    if mask is None:
        return grouped.restore(_backend(backend, grouped)(grouped.view, partner, mixed, own_weight, settings))
    real = real_values(grouped, mask)
    return grouped.restore(_masked_backend(backend)(grouped.view, partner, mixed, own_weight, settings, real))


def renormalize(
    x: Tensor, own: Moments, new: Moments, *, mixed: Tensor | None = None, backend: Backend = "auto"
) -> Tensor:
    """Replace the moments of features: out = (x - own.mean) / own.std * new.std + new.mean.

    This is the affine map of every mixer that is not an exchange. It needs no norm: the shape of the moments determines
    which values share a moment.

    Args:
        x: features [B, ...], floating point. Not modified.
        own: the moments of x, which broadcast against it.
        new: the new moments, which broadcast against it.
        mixed: [B] bool, which samples get them; the others pass bit for bit. If None, all do.
        backend: "auto", "reference" or "triton", as in `exchange`.

    Returns:
        Features with the shape, dtype and memory format of x, computed in the dtype of the moments.

    Gradient: flows to x and to all four moments.

    Raises:
        ValueError: mixed is not bool [B], or the backend is unknown.
        RuntimeError, ImportError: backend="triton", as in `exchange`.
    """
    _check_mixed(x, mixed)
    if backend not in ("auto", "reference", "triton"):
        raise ValueError(f"backend of renormalize needs one of auto, reference, triton; got {backend!r}.")
    mask = None if mixed is None else reference.for_samples(mixed, x)
    if backend == "reference" or (backend == "auto" and (_plain_formula_needed() or x.shape[0] == 0)):
        return reference.renormalize(x, own, new, mask)
    if backend == "auto" and not _triton_knows(x, reduced_axes(*own, *new)):
        return closed_form.renormalize(x, own, new, mask)
    y: Tensor = _triton().renormalize(x, own, new, mask)
    return y


def moments_of_view(grouped: Grouped, eps: float) -> Moments:
    """Compute the moments of grouped features, in the shape of their view, with the fastest implementation."""
    plain = _plain_formula_needed() or grouped.view.shape[0] == 0
    compute = reference.moments if plain else closed_form.moments
    return compute(grouped.view, grouped.axes, eps)


def real_values(grouped: Grouped, mask: Tensor) -> Tensor:
    """Return a mask of positions as bool, in a shape that broadcasts against the view of the features.

    Raises:
        ValueError: the mask is not [B, *positions], bool or integer.
    """
    view = grouped.view
    shape = [view.shape[0], *view.shape[3 if grouped.grouped else 2 :]]
    if mask.is_floating_point() or list(mask.shape) != shape:
        raise ValueError(
            f"mask needs True or 1 for each position that is not padding, shape {shape}; got {_kind(mask)}. "
            "Use a mask of the positions of the features at this place."
        )
    return mask.bool().reshape(shape[0], *[1] * (view.ndim - len(shape)), *shape[1:])


def _exchange_over_ranks(
    grouped: Grouped,
    partner: GlobalIndex,
    mixed: Tensor | None,
    own_weight: Tensor | float,
    settings: Settings,
    backend: Backend,
) -> Tensor:
    """Compute `reference.exchange` in parts, because moments are gathered between them."""
    # Cast once, so that gradients through the moments and around them are added before rounding.
    values = grouped.view.to(statistics_type(grouped.view))
    own = moments_of_view(Grouped(values, grouped.axes, grouped.grouped, grouped.channel_dim), settings.eps)
    kept, given = reference.kept_and_given(own, settings.grad)
    new = reference.blend(kept, given, partner, *reference.weights_of(own_weight, settings.moment))
    return renormalize(values, kept, new, mixed=mixed, backend=backend).to(grouped.view.dtype)


def _masked_backend(name: str):  # type: ignore[no-untyped-def]
    """Choose the definition, compiled or not: closed forms and kernels do not support masks."""
    if name == "triton":
        raise ValueError('backend="triton" takes no mask. Use backend="auto".')
    return _named_backend("reference" if name == "auto" else name)


def _backend(name: str, grouped: Grouped):  # type: ignore[no-untyped-def]
    if name == "auto":
        if _plain_formula_needed():
            return reference.exchange
        return _triton().exchange if _triton_knows(grouped.view, grouped.axes) else closed_form.exchange
    return _named_backend(name)


def _named_backend(name: str):  # type: ignore[no-untyped-def]
    if name == "reference":
        return reference.exchange
    if name == "compiled":
        from torchmoments.ops import compiled

        return compiled.exchange
    if name == "triton":
        return _triton().exchange
    raise ValueError(f"backend needs one of {', '.join(BACKENDS)}; got {name!r}.")


def _triton() -> Any:
    try:
        from torchmoments.ops import triton
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise ImportError('backend="triton" needs Triton. Install it with: pip install triton') from error
    return triton


def _triton_knows(x: Tensor, axes: tuple[int, ...]) -> bool:
    return x.is_cuda and _triton_is_installed() and bool(_triton().supported(x, axes))


@functools.cache
def _triton_is_installed() -> bool:
    """Whether Triton can be imported, without importing it."""
    return importlib.util.find_spec("triton") is not None


def _plain_formula_needed() -> bool:
    """Whether a compiler or a function transform runs, which differentiates the plain formula itself."""
    return torch.compiler.is_compiling() or transforms_are_active()


def check_features(x: Tensor, channel_dim: int = 1) -> None:
    """Raise ValueError unless x is floating point [B, C, *positions] and channel_dim is one of its axes."""
    if not x.is_floating_point():
        raise ValueError(f"features need a floating point dtype; got {x.dtype}. Convert them: x.float().")
    if x.ndim < 2:
        raise ValueError(f"features need shape [B, C, *positions]; got {list(x.shape)}.")
    if not -x.ndim <= channel_dim < x.ndim or channel_dim % x.ndim == 0:
        raise ValueError(
            f"channel_dim needs an axis of the features other than the batch; got {channel_dim} for shape "
            f"{list(x.shape)}. Use 1 for [B, C, *positions], -1 for [B, *positions, C]."
        )


def _check_partner(x: Tensor, partner: Index) -> None:
    partner = partner.index if isinstance(partner, GlobalIndex) else partner
    if partner.dtype != torch.int64 or partner.shape != x.shape[:1]:
        raise ValueError(
            f"partner needs one int64 index for each sample, shape [{x.shape[0]}]; got {_kind(partner)}. "
            f"Use mixer.draw(batch_size={x.shape[0]})."
        )
    if partner.device != x.device:
        raise ValueError(
            f"partner needs to be on the device of the features, {x.device}; got {partner.device}. "
            "Use partner.to(x.device)."
        )


def _check_mixed(x: Tensor, mixed: Tensor | None) -> None:
    if mixed is not None and (mixed.dtype != torch.bool or mixed.shape != x.shape[:1]):
        raise ValueError(f"mixed needs one bool for each sample, shape [{x.shape[0]}]; got {_kind(mixed)}.")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
