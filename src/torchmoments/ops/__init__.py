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
from torchmoments.torch_internals import transforms_are_active


def moments(x: Tensor, norm: Norm = "pono", *, channel_dim: int = 1, eps: float = 1e-5) -> Moments:
    """Mean and standard deviation of features over the axes of a norm.

    mean = sum(x) / n,  std = sqrt(sum((x - mean)^2) / (n - 1) + eps), over the n values of one moment.

    Args:
        x: features [B, C, *positions], floating point. Not modified.
        norm: what one moment averages over: "pono" (channels), "in" (positions), "ln" (both), "gn<G>" and "gpono<G>"
            (the same within each of G groups of channels), "gn-d<K>" and "gpono-d<K>" (groups of K channels),
            or a tuple of axes of x, such as (1, 3): frequency-wise moments of [B, C, F, T].
        channel_dim: -1 for [B, *positions, C].
        eps: added to the variance, so in units of x squared.

    Returns:
        Moments(mean, std), both broadcasting against x; float64 for float64, else float32.

    Gradient: flows to x through both.

    Raises:
        ValueError: unknown norm, groups that do not divide the channels, a moment over fewer than two values.
    """
    check_features(x, channel_dim)
    grouped = group(x, norm, channel_dim)
    mean, std = moments_of_view(grouped, eps)
    return Moments(grouped.broadcast(mean), grouped.broadcast(std))


def normalize(x: Tensor, norm: Norm = "pono", *, channel_dim: int = 1, eps: float = 1e-5) -> tuple[Tensor, Moments]:
    """F(x) = (normalized, moments) with normalized = (x - mean) / std.

    Returns:
        normalized with the shape, dtype and memory format of x, and its Moments. Other arguments, gradient and
        errors as in `moments`.
    """
    check_features(x, channel_dim)
    values = x.to(statistics_type(x))
    own = moments(values, norm, channel_dim=channel_dim, eps=eps)
    return ((values - own.mean) / own.std).to(x.dtype), own


def denormalize(normalized: Tensor, moments: Moments) -> Tensor:
    """The inverse F^-1(normalized, moments) = normalized * std + mean, for every norm.

    Args:
        normalized: features as `normalize` gives them. Not modified.
        moments: mean and std that broadcast against them: their own, or another sample's.

    Returns:
        Features in the dtype of `normalized`, computed in the dtype of the moments.

    Gradient: flows to all three.
    """
    mean, std = moments
    return (normalized.to(mean.dtype) * std + mean).to(normalized.dtype)


def exchange(
    x: Tensor,
    partner: Tensor,
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
    """Give every sample the mean and the spread of its partner.

    With j = partner[i]:  out[i] = (x[i] - mean[i]) / std[i] * std[j] + mean[j]

    Args:
        x: features [B, C, *positions], floating point. Not modified.
        partner: [B] int64 on x's device; partners may repeat. `arange(B)` changes nothing but the rounding.
        norm: the axes of one moment, see `moments`.
        channel_dim: -1 for [B, *positions, C].
        eps: added to the variance, so in units of x squared.
        grad: through whose moments the gradient flows: "both", "own", "donor" or "none".
        positive_only: moments of the values over zero only (biased variance), applied to all values. A moment
            with no such value, on either side, leaves the values as they are.
        mixed: [B] bool, whose moments are exchanged; the others pass bit for bit. All where None.
        own_weight: weight of the own moments, a number or [B]: 0 is the full exchange, 1 changes nothing. It gets no
            gradient.
        moment: which of the two is exchanged: "both", "mean" or "std"; the other stays the sample's own.
        mask: [B, *positions], True or 1 for features, False or 0 for padding, which enters no moment, whatever it
            holds, and passes bit for bit. A moment with fewer than two values left, on either side, leaves the values
            as they are.
        backend: "reference" is the plain formula, "compiled" the same under `torch.compile`, "triton" its kernels.
            "auto" never compiles by itself: inside `torch.compile` the plain formula, on CUDA Triton where it is
            installed and knows the dtype and the layout, otherwise the formula with its backward in closed form.

    Returns:
        Features with the shape, dtype and memory format of x. Computed in float32 (float64 for float64).

    Gradient: flows to x[i] and, through mean[j] and std[j], to x[j], as `grad` says.

    Raises:
        ValueError: partner is not int64 [B] on x's device, mask is not [B, *positions], backend="triton" with a mask,
            unknown grad, moment or backend, or as in `moments`.
        RuntimeError: backend="compiled" where no C++ compiler is found, backend="triton" where x is not on a GPU or
            the axes of the norm lie too scattered in memory.
        ImportError: backend="triton" where Triton is not installed.

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
    if mask is None:
        return grouped.restore(_backend(backend, grouped)(grouped.view, partner, mixed, own_weight, settings))
    real = real_values(grouped, mask)
    return grouped.restore(_masked_backend(backend)(grouped.view, partner, mixed, own_weight, settings, real))


def restyle(x: Tensor, own: Moments, new: Moments, *, mixed: Tensor | None = None, backend: Backend = "auto") -> Tensor:
    """Give features other moments: out = (x - own.mean) / own.std * new.std + new.mean.

    The one affine map of every mixer whose new moments are not an exchange. It knows no norm: the moments say by their
    shape what they are of.

    Args:
        x: features [B, ...], floating point. Not modified.
        own: the moments that x has, broadcasting against it.
        new: those it gets, broadcasting against it.
        mixed: [B] bool, who gets them; the others pass bit for bit. All where None.
        backend: "auto", "reference" or "triton", as in `exchange`.

    Returns:
        Features with the shape, dtype and memory format of x, computed in the dtype of the moments.

    Gradient: flows to x and to all four moments.

    Raises:
        ValueError: mixed is not bool [B], unknown backend.
        RuntimeError, ImportError: backend="triton" as in `exchange`.
    """
    _check_mixed(x, mixed)
    if backend not in ("auto", "reference", "triton"):
        raise ValueError(f"backend of restyle needs one of auto, reference, triton; got {backend!r}.")
    mask = None if mixed is None else reference.for_samples(mixed, x)
    if backend == "reference" or (backend == "auto" and (_plain_formula_needed() or x.shape[0] == 0)):
        return reference.restyle(x, own, new, mask)
    if backend == "auto" and not _triton_knows(x, reduced_axes(*own, *new)):
        return closed_form.restyle(x, own, new, mask)
    y: Tensor = _triton().restyle(x, own, new, mask)
    return y


def moments_of_view(grouped: Grouped, eps: float) -> Moments:
    """The moments of grouped features, in the shape of their view, by the fastest way here."""
    plain = _plain_formula_needed() or grouped.view.shape[0] == 0
    compute = reference.moments if plain else closed_form.moments
    return compute(grouped.view, grouped.axes, eps)


def real_values(grouped: Grouped, mask: Tensor) -> Tensor:
    """A mask of the positions as bool that broadcasts against the view of the features.

    Raises:
        ValueError: it is not [B, *positions] of bool or whole numbers.
    """
    view = grouped.view
    shape = [view.shape[0], *view.shape[3 if grouped.grouped else 2 :]]
    if mask.is_floating_point() or list(mask.shape) != shape:
        raise ValueError(
            f"mask needs True or 1 for each position that is no padding, shape {shape}; got {_kind(mask)}. "
            "Use a mask of the positions of the features at this place."
        )
    return mask.bool().reshape(shape[0], *[1] * (view.ndim - len(shape)), *shape[1:])


def _masked_backend(name: str):  # type: ignore[no-untyped-def]
    """The definition, compiled or not: the closed forms and the kernels know no masks."""
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
    """Whether Triton can be imported; it is not imported for that."""
    return importlib.util.find_spec("triton") is not None


def _plain_formula_needed() -> bool:
    """Compilers and function transforms differentiate the plain formula themselves."""
    return torch.compiler.is_compiling() or transforms_are_active()


def check_features(x: Tensor, channel_dim: int = 1) -> None:
    """Raise ValueError unless x is [B, C, *positions], floating point, and channel_dim one of its axes."""
    if not x.is_floating_point():
        raise ValueError(f"features need a floating point dtype; got {x.dtype}. Convert them: x.float().")
    if x.ndim < 2:
        raise ValueError(f"features need shape [B, C, *positions]; got {list(x.shape)}.")
    if not -x.ndim <= channel_dim < x.ndim or channel_dim % x.ndim == 0:
        raise ValueError(
            f"channel_dim needs an axis of the features other than the batch; got {channel_dim} for shape "
            f"{list(x.shape)}. Use 1 for [B, C, *positions], -1 for [B, *positions, C]."
        )


def _check_partner(x: Tensor, partner: Tensor) -> None:
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
