"""Check in the first mixed batch whether mixing changes anything at a place.

If all moments are equal, such as those over the channels right after a LayerNorm over the channels, exchanging them has
no effect: labels are mixed and features are not. The check measures how much the features changed, whatever the mixer
and the modules around the place.
"""

from typing import Any

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer
from torchmoments.ops.reference import for_samples
from torchmoments.ranks import GlobalIndex, own_index
from torchmoments.torch_internals import NO_BACKWARD, backward_id, has_readable_values
from torchmoments.warn import warn

# Moments over a million independent values differ by about this much.
_MIN_CHANGE = 1e-3
# A batch of equal images, or features that start at zero, is inconclusive; a later batch may not be.
_MAX_CHECKS = 10


class NoEffectWarning(UserWarning):
    """Mixing has no effect on the features at a place.

    Issued once per place, in eager code, after the first mixed batch. For example, all `pono` moments are equal right
    after a LayerNorm over the channels, so MoEx would mix only labels there. Attach to another place or choose another
    norm. To make it an error: `warnings.simplefilter("error", torchmoments.NoEffectWarning)`.
    """


class EffectCheck:
    """Warns once if mixing has no effect at a place. A copy or an unpickled check starts again."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.checks_left = _MAX_CHECKS
        self._change: _AsyncValue | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (EffectCheck, (self.place,))

    def look(self, mixer: Mixer, x: Tensor, mixed: Tensor, draw: Draw, mask: Tensor | None) -> None:
        """Compare features [B, C, *positions] before and after mixing, without waiting for a device."""
        if self.checks_left == 0 or mixed is x:  # A mixer that returns x itself skips such features.
            return
        # Threads may share a site.
        arriving = self._change
        if arriving is None:
            if backward_id() != NO_BACKWARD or not has_readable_values(x):
                return
            arriving = _AsyncValue(change(mixer, x, mixed, draw, mask))
        is_ready = arriving.is_ready()
        self._change = None if is_ready else arriving
        if is_ready:
            self._judge(float(arriving.value), mixer)

    def _judge(self, change: float, mixer: Mixer) -> None:
        self.checks_left = self.checks_left - 1 if change != change else 0
        if change < 1:
            warn(
                f"mixing needs features whose moments differ between samples; {type(mixer).__name__} changes nothing "
                f"at {self.place!r}, as right after a normalization over the same axes. Attach to a later place, such "
                "as the first block (torchmoments.places(model) lists the names), or choose another norm.",
                NoEffectWarning,
            )


def change(mixer: Mixer, x: Tensor, mixed: Tensor, draw: Draw, mask: Tensor | None) -> Tensor:
    """Return how much features changed, in units of the smallest relevant change; NaN if nothing could change them.

    The change is relative to the difference from the features they are mixed with: their partners, or the batch mean
    if there are none on this rank.
    """
    with torch.no_grad():
        own, new = x.float(), mixed.float()
        if mask is not None:
            own, new = (torch.where(mask.bool().unsqueeze(1), values, 0) for values in (own, new))
        share = torch.ones(len(own), device=own.device) * (1 - draw.moment_weight)
        if isinstance(draw.partner, GlobalIndex):
            # Features of other ranks are not gathered.
            others = own.mean(0, keepdim=True)
            share = share * (draw.partner.index != own_index(draw.partner))
        else:
            others = own.mean(0, keepdim=True) if mixer.partner is None else own[draw.partner]
        if draw.mixed is not None:
            share = share * draw.mixed
        possible = (for_samples(share, own) * (others - own)).norm()
        eps = torch.finfo(x.dtype).eps
        least = possible * max(_MIN_CHANGE, eps / 2)
        # Differences below the rounding of the features cannot be detected.
        return torch.where(possible > eps * own.norm(), (new - own).norm() / least, torch.nan)


class _AsyncValue:
    """A number that is being copied to the CPU."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.to("cpu", non_blocking=value.is_cuda)
        self._event: Any = None
        if value.is_cuda:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(value.device))

    def is_ready(self) -> bool:
        return self._event is None or bool(self._event.query())
