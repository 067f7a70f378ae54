"""The exchange from its formula, slow and stupid: float64, one sample and one moment at a time.

Gradients are autograd's of these scalar formulas; detaching is done where the formula says so.
"""

import itertools
import re

import torch
from torch import Tensor


def members(shape: tuple[int, ...], norm: str | tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """For each moment of one sample of shape [C, *positions], the indices of its values."""
    channels = shape[0]
    if isinstance(norm, str):
        match = re.fullmatch(r"([a-z]+)(-d)?(\d+)?", norm)
        assert match is not None
        word, per_group, size = match[1], match[2], int(match[3] or 0)
        width = size if per_group else channels // (size or 1)

        def key(index: tuple[int, ...]) -> tuple[int, ...]:
            group = index[0] // width
            return {
                "pono": index[1:],
                "in": index[:1],
                "ln": (),
                "gn": (group,),
                "gpono": (group, *index[1:]),
            }[word]
    else:

        def key(index: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(place for axis, place in enumerate(index, start=1) if axis not in norm)

    indices = sorted(itertools.product(*map(range, shape)), key=lambda index: (key(index), index))
    return [list(values) for _, values in itertools.groupby(indices, key=key)]


def moment(values: Tensor, eps: float, positive_only: bool) -> tuple[Tensor, Tensor] | None:
    if positive_only:
        values = values[values > 0]
        divisor = len(values)
    else:
        divisor = len(values) - 1
    if divisor < 1:
        return None
    mean = values.sum() / len(values)
    return mean, (((values - mean) ** 2).sum() / divisor + eps).sqrt()


def exchange(
    x: Tensor,
    partner: list[int],
    norm: str | tuple[int, ...],
    eps: float = 1e-5,
    grad: str = "both",
    positive_only: bool = False,
    mixed: list[bool] | None = None,
    own_weight: list[float] | None = None,
    which: str = "both",
    mask: Tensor | None = None,
) -> Tensor:
    rows = []
    for b, sample in enumerate(x):
        row = {index: sample[index] for index in itertools.product(*map(range, sample.shape))}
        for indices in members(tuple(sample.shape), norm):
            own = moment(real_values(sample, indices, mask, b), eps, positive_only)
            donor = moment(real_values(x[partner[b]], indices, mask, partner[b]), eps, positive_only)
            if own is None or donor is None or (mixed is not None and not mixed[b]):
                continue
            if grad in ("donor", "none"):
                own = (own[0].detach(), own[1].detach())
            if grad in ("own", "none"):
                donor = (donor[0].detach(), donor[1].detach())
            w = own_weight[b] if own_weight else 0.0
            blended = [w * mine + (1 - w) * theirs for mine, theirs in zip(own, donor, strict=True)]
            mean = own[0] if which == "std" else blended[0]
            std = own[1] if which == "mean" else blended[1]
            for i in indices:
                if is_real(mask, b, i):
                    row[i] = (sample[i] - own[0]) / own[1] * std + mean
        rows.append(torch.stack(list(row.values())).reshape(sample.shape))
    return torch.stack(rows)


def is_real(mask: Tensor | None, sample: int, index: tuple[int, ...]) -> bool:
    """Whether the position of a value is no padding."""
    return mask is None or bool(mask[sample][index[1:]])


def real_values(x: Tensor, indices: list[tuple[int, ...]], mask: Tensor | None, sample: int) -> Tensor:
    values = [x[i] for i in indices if is_real(mask, sample, i)]
    return torch.stack(values) if values else x.new_zeros(0)
