"""Whether mixing changes anything at a place, looked at in its first mixed batch.

Moments that are all equal, as those over the channels right behind a LayerNorm over the channels, are exchanged for the
same ones: then labels are mixed and features are not. What is asked is how much the features changed, whatever the
mixer and the modules around the place.
"""

from typing import Any

import torch
from torch import Tensor

from torchmoments.draw import Draw
from torchmoments.mixers.mixer import Mixer
from torchmoments.ops.reference import for_samples
from torchmoments.torch_internals import NO_BACKWARD, backward_id, has_plain_values
from torchmoments.warn import warn

# Moments over a million independent values differ by as little.
_LEAST = 1e-3
# A batch of equal images, or features that start at zero, tell nothing; a later batch may.
_LOOKS = 10


class NoEffectWarning(UserWarning):
    """Mixing changes nothing at a place."""


class EffectCheck:
    """Warns once if mixing changes nothing at a place. A copy or an unpickled one looks for itself."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.looks_left = _LOOKS
        self._change: _Arriving | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (EffectCheck, (self.place,))

    def look(self, mixer: Mixer, x: Tensor, mixed: Tensor, draw: Draw, mask: Tensor | None) -> None:
        """See what a mixer made of features [B, C, *positions], until that is known. No device is waited for."""
        if self.looks_left == 0 or mixed is x:  # A mixer that gives x itself has left such features out.
            return
        # Threads may share a site.
        arriving = self._change
        if arriving is None:
            if backward_id() != NO_BACKWARD or not has_plain_values(x):
                return
            arriving = _Arriving(change(mixer, x, mixed, draw, mask))
        is_here = arriving.is_here()
        self._change = None if is_here else arriving
        if is_here:
            self._judge(float(arriving.value), mixer)

    def _judge(self, change: float, mixer: Mixer) -> None:
        self.looks_left = self.looks_left - 1 if change != change else 0
        if change < 1:
            warn(
                f"mixing needs features whose moments differ between samples; {type(mixer).__name__} changes nothing "
                f"at {self.place!r}, as right behind a normalization over the same axes. Attach to a later place, such "
                "as the first block (torchmoments.places(model) lists the names), or choose another norm.",
                NoEffectWarning,
            )


def change(mixer: Mixer, x: Tensor, mixed: Tensor, draw: Draw, mask: Tensor | None) -> Tensor:
    """How much features changed, in units of the least that counts; not a number if there was nothing to change them.

    They are compared with what they are mixed with: their partners, or the mean of the batch.
    """
    with torch.no_grad():
        own, new = x.float(), mixed.float()
        if mask is not None:
            own, new = (torch.where(mask.bool().unsqueeze(1), values, 0) for values in (own, new))
        others = own.mean(0, keepdim=True) if mixer.partner is None else own[draw.partner]
        share = torch.ones(len(own), device=own.device) * (1 - draw.moment_weight)
        if draw.mixed is not None:
            share = share * draw.mixed
        possible = (for_samples(share, own) * (others - own)).norm()
        eps = torch.finfo(x.dtype).eps
        least = possible * max(_LEAST, eps / 2)
        # Less than the features' rounding is nothing that could be seen.
        return torch.where(possible > eps * own.norm(), (new - own).norm() / least, torch.nan)


class _Arriving:
    """A number on its way to the CPU."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.to("cpu", non_blocking=value.is_cuda)
        self._event: Any = None
        if value.is_cuda:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(value.device))

    def is_here(self) -> bool:
        return self._event is None or bool(self._event.query())
