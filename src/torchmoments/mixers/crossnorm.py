"""CrossNorm: features get their partner's style, from the whole map or from a crop; labels are kept.

Source: Tang et al., "CrossNorm and SelfNorm for Generalization under Distribution Shifts", ICCV 2021, arXiv 2102.02811.
"""

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor

from torchmoments import ops
from torchmoments.draw import Draw
from torchmoments.mixers.exchange import ExchangeMixin
from torchmoments.mixers.mixer import LabelFrom, Mixer, check_choice, checked_kind, uniform
from torchmoments.ops.reference import Moments, statistics_type
from torchmoments.ops.settings import Backend, Gradient
from torchmoments.partners import Partner
from torchmoments.ranks import take

# The probability that all tries of a box fail is below 10^-14; the box is then the whole map.
TRIES = 32
Crop = Literal["style", "content", "both"]
CROPS: tuple[Crop | None, ...] = (None, *get_args(Crop))


@dataclasses.dataclass(frozen=True, eq=False)
class CrossNormDraw(Draw):
    """A draw with candidates for two boxes for the whole batch; the first one that is large enough is used.

    boxes: [2, TRIES, 4] float32, for content and style: the area as a fraction of the map's, then the centre along up
    to three axes as a fraction of the map's side; all from 0 to 1.
    """

    boxes: Tensor = dataclasses.field(kw_only=True)


class CrossNorm(ExchangeMixin, Mixer):
    """CrossNorm.

        out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]], moments over the positions.

    Args:
        p: probability that a batch is mixed.
        crop: "style": the partner's moments are computed inside a box. "content": the own moments are computed inside a
            box, and values outside it are unchanged. "both": both, with one box for each. None: whole maps.
        eps: added to the variance, in units of the features squared.
        partner: as in `MoEx`.
        lam: weight of a sample's own label in a mixed batch; 1, as published, keeps labels.
        label_from: whose label gets the remaining weight, "donor" or "other", see `MoEx`.
        grad: the moments through which the gradient flows: "both" as published, "own", "donor" or "none".
        places_per_step: if several places are attached, the number of them, chosen at random, at which a mixed step
            mixes: 1 in most published scripts, 2 in most of those for WideResNet. None: one coin per place.
        per_sample: apply p to each sample instead of the batch.
        backend: for exchanging moments of whole maps, see `torchmoments.exchange`.

    Raises:
        ValueError: an argument is invalid; a crop of a map with fewer than 4 positions along an axis.

    Source: Tang et al., "CrossNorm and SelfNorm for Generalization under Distribution Shifts", ICCV 2021.
    """

    p: float = 0.5
    crop: Crop | None = None
    eps: float = dataclasses.field(default=1e-5, kw_only=True)
    partner: Partner = dataclasses.field(default="random", kw_only=True)
    lam: float = dataclasses.field(default=1.0, kw_only=True)
    label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
    grad: Gradient = dataclasses.field(default="both", kw_only=True)
    places_per_step: int | None = dataclasses.field(default=1, kw_only=True)
    per_sample: bool = dataclasses.field(default=False, kw_only=True)
    backend: Backend = dataclasses.field(default="auto", kw_only=True)

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("crop", self.crop, CROPS)
        if self.places_per_step is not None and (type(self.places_per_step) is not int or self.places_per_step < 1):
            raise ValueError(f"places_per_step needs a whole number over 0, or None; got {self.places_per_step!r}.")

    def decide(self, draw: Draw, generator: torch.Generator) -> Draw:
        if self.crop is None:
            return draw
        return draw.extended(CrossNormDraw, boxes=uniform((2, TRIES, 4), generator))

    def mix(self, x: Tensor, draw: Draw, mask: Tensor | None = None) -> Tensor:
        if self.crop is None:
            return super().mix(x, draw, mask)
        if mask is not None:
            raise ValueError(f"crop={self.crop!r} takes no mask of padded positions. Use crop=None.")
        return self._mix_crops(x, checked_kind(draw, CrossNormDraw))

    def _mix_crops(self, x: Tensor, draw: CrossNormDraw) -> Tensor:
        positions = tuple(x.shape[2:])
        if not 1 <= len(positions) <= 3 or min(positions) < 4:
            raise ValueError(
                f"crop={self.crop!r} needs maps of 4 x 4 positions or more, along one to three axes; got features of "
                f"shape {list(x.shape)}. Use crop=None, or an earlier place."
            )
        # Cast once, so that gradients through the moments and around them are added before rounding.
        values = x.to(statistics_type(x))
        everywhere = torch.ones(positions, dtype=torch.bool, device=x.device)
        content = box(draw.boxes[0], positions) if self.crop in ("content", "both") else everywhere
        style = box(draw.boxes[1], positions) if self.crop in ("style", "both") else everywhere
        own, given = self._moments(values, content), self._moments(values, style)
        if self.grad in ("donor", "none"):
            own = Moments(own.mean.detach(), own.std.detach())
        if self.grad in ("own", "none"):
            given = Moments(given.mean.detach(), given.std.detach())
        new = Moments(take(given.mean, draw.partner), take(given.std, draw.partner))
        y = ops.renormalize(values, own, new, mixed=draw.mixed)
        return (y if content is everywhere else torch.where(content, y, values)).to(x.dtype)

    def _moments(self, x: Tensor, region: Tensor) -> Moments:
        """Compute moments of the values inside a region [*positions], for each sample and channel."""
        axes = tuple(range(2, x.ndim))
        inside = torch.where(region, x, 0)
        count = region.sum()
        mean = inside.sum(axes, keepdim=True) / count
        variance = torch.where(region, (inside - mean).square(), 0).sum(axes, keepdim=True) / (count - 1)
        return Moments(mean, (variance + self.eps).sqrt())


def box(tries: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Return the first box that covers more than a tenth of the map and at least two positions, as a mask [*positions].

    With L positions along one of d axes, its side is 2 floor(L area^(1/d) / 2) around the position floor(L centre),
    clipped at the edges.
    """
    area, centres = tries[:, 0], tries[:, 1:]
    masks = torch.ones(len(tries), *[1] * len(positions), dtype=torch.bool, device=tries.device)
    for axis, length in enumerate(positions):
        half = (length * area ** (1 / len(positions)) / 2).floor()
        centre = (length * centres[:, axis]).floor()
        place = torch.arange(length, device=tries.device)
        covered = (place >= (centre - half)[:, None]) & (place < (centre + half)[:, None])
        masks = masks & covered.reshape(-1, *[length if other == axis else 1 for other in range(len(positions))])
    count = masks.flatten(1).sum(1)
    large = (count * 10 > masks[0].numel()) & (count >= 2)
    # The whole map comes last, in case no try is large enough.
    masks = torch.cat([masks, torch.ones_like(masks[:1])])
    large = torch.cat([large, torch.ones_like(large[:1])])
    # Indexing with a single number would wait for the device.
    return masks.index_select(0, large.int().argmax().reshape(1))[0]
