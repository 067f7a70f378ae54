"""Each mixer against its published formula, slow and stupid: float64, one sample and one moment at a time.

The formulas detach where their source does; gradients are autograd's of them.
"""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

import torchmoments as tm
from tests.mixers import example

PARTNER = [1, 1, 0, 4, 2]  # repeats, a self-partner, and a sample that gives to nobody
MIXED = [True, True, True, False, True]
WEIGHT = [0.0, 0.5, 0.3, 0.9, 1.0]


def mean_std(values: Tensor, eps: float, detached: bool = False) -> tuple[Tensor, Tensor]:
    mean = values.sum() / len(values)
    std = (((values - mean) ** 2).sum() / (len(values) - 1) + eps).sqrt()
    return (mean.detach(), std.detach()) if detached else (mean, std)


def by_channel(x: Tensor, change) -> Tensor:
    """change(b, c) gives the new values [n] of a channel of a mixed sample."""
    return torch.stack(
        [
            torch.stack([change(b, c) if MIXED[b] else x[b, c].flatten() for c in range(x.shape[1])])
            for b in range(len(x))
        ]
    ).reshape(x.shape)


def moex(mixer, x, draw):
    """Pono: one moment a position; with the own weight of a moment, and with one of the two left as it is."""
    b, c = x.shape[:2]
    flat = x.reshape(b, c, -1)
    rows = []
    for i, s in itertools.product(range(b), range(flat.shape[2])):
        values = flat[i, :, s]
        if MIXED[i]:
            mean, std = mean_std(values, 1e-5)
            donor_mean, donor_std = mean_std(flat[PARTNER[i], :, s], 1e-5)
            w = WEIGHT[i] if mixer.alpha else 0.0
            new_mean = w * mean + (1 - w) * donor_mean if mixer.moment in ("both", "mean") else mean
            new_std = w * std + (1 - w) * donor_std if mixer.moment in ("both", "std") else std
            values = (values - mean) / std * new_std + new_mean
        rows.append(values)
    return torch.stack(rows).reshape(b, -1, c).transpose(1, 2).reshape(x.shape)


def mixstyle(mixer, x, draw):
    def change(b, c):
        mean, std = mean_std(x[b, c].flatten(), 1e-6, detached=True)
        donor_mean, donor_std = mean_std(x[PARTNER[b], c].flatten(), 1e-6, detached=True)
        w = WEIGHT[b]
        normalized = (x[b, c].flatten() - mean) / std
        return normalized * (w * std + (1 - w) * donor_std) + w * mean + (1 - w) * donor_mean

    return by_channel(x, change)


def efdmix(mixer, x, draw):
    def change(b, c):
        own, donor = x[b, c].flatten(), x[PARTNER[b], c].flatten()
        ranks = sorted(range(len(own)), key=lambda s: own[s].item())
        donor_ranks = sorted(range(len(donor)), key=lambda s: donor[s].item())
        matched = [torch.zeros(())] * len(own)
        for place, donor_place in zip(ranks, donor_ranks, strict=True):
            matched[place] = donor[donor_place]
        return own + (1 - WEIGHT[b]) * (torch.stack(matched) - own.detach())

    return by_channel(x, change)


def noise(key: int, number: int, count: int, raw: bool = False) -> tuple[float, float] | float:
    """The noise of one moment in whole numbers: the two hashes, then Box-Muller; or the first hash alone."""

    def scramble(value: int) -> int:
        for shift, factor in ((16, 0x7FEB352D), (15, 0x46D9F3B1), (16, 0x2C1B3C6D)):
            value = (value ^ (value >> shift)) * factor % 2**32
        return value ^ (value >> 16)

    u = [
        ((scramble(scramble(scramble(n) ^ (key % 2**32)) ^ (key >> 32)) >> 8) + 0.5) / 2**24
        for n in (number, number + count)
    ]
    if raw:
        return u[0]
    radius = math.sqrt(-2 * math.log(u[0]))
    return radius * math.cos(2 * math.pi * u[1]), radius * math.sin(2 * math.pi * u[1])


def dsu(mixer, x, draw):
    batch, channels = x.shape[:2]

    def spread(c, which):
        return mean_std(torch.stack([mean_std(x[b, c].flatten(), 1e-6)[which] for b in range(batch)]), 1e-6)[1]

    def change(b, c):
        mean, std = mean_std(x[b, c].flatten(), 1e-6)
        n1, n2 = noise(int(draw.key[b]), c, channels)
        return (std + n1 * spread(c, 1)) * (x[b, c].flatten() - mean) / std + mean + n2 * spread(c, 0)

    return by_channel(x, change)


def inside(boxes, positions) -> list[bool]:
    """Of each position, whether it is in the first box that covers over a tenth of the map."""
    for area, *centre in boxes.tolist():
        sides = []
        for length, at in zip(positions, centre, strict=False):
            half = math.floor(length * area ** (1 / len(positions)) / 2)
            middle = math.floor(length * at)
            sides.append(range(max(0, middle - half), min(length, middle + half)))
        count = math.prod(len(side) for side in sides)
        if count > 0.1 * math.prod(positions) and count > 1:
            break
    return [all(s in side for s, side in zip(place, sides, strict=True)) for place in
            itertools.product(*map(range, positions))]  # fmt: skip


def crossnorm(mixer, x, draw):
    positions = tuple(x.shape[2:])
    everywhere = [True] * math.prod(positions)
    content = inside(draw.boxes[0], positions) if mixer.crop in ("content", "both") else everywhere
    style = inside(draw.boxes[1], positions) if mixer.crop in ("style", "both") else everywhere

    def change(b, c):
        own, donor = x[b, c].flatten(), x[PARTNER[b], c].flatten()
        mean, std = mean_std(own[torch.tensor(content)], 1e-5)
        donor_mean, donor_std = mean_std(donor[torch.tensor(style)], 1e-5)
        return torch.stack([
            (value - mean) / std * donor_std + donor_mean if here else value
            for value, here in zip(own, content, strict=True)
        ])  # fmt: skip

    return by_channel(x, change)


def padain(mixer, x, draw):
    def change(b, c):
        mean, std = mean_std(x[b, c].flatten(), 1e-5)
        donor_mean, donor_std = mean_std(x[PARTNER[b], c].flatten(), 1e-5, detached=True)
        return (x[b, c].flatten() - mean) / (std + 1e-5) * donor_std + donor_mean

    return by_channel(x, change)


def random_moments(mixer, x, draw):
    """Pono: for each position, samples sorted by the hash of their key and the position; the r-th gives to sample r."""
    b, c = x.shape[:2]
    flat = x.reshape(b, c, -1)
    count = flat.shape[2]
    new = [[None] * count for _ in range(b)]
    for s in range(count):
        scores = [noise(int(draw.key[i]), s, count, raw=True) for i in range(b)]
        order = sorted(range(b), key=lambda i: scores[i])
        for i in range(b):
            values = flat[i, :, s]
            if MIXED[i]:
                mean, std = mean_std(values, 1e-5)
                donor_mean, donor_std = mean_std(flat[order[i], :, s], 1e-5)
                values = (values - mean) / std * donor_std + donor_mean
            new[i][s] = values
    return torch.stack([torch.stack(row, 1) for row in new]).reshape(x.shape)


FORMULAS = [
    (tm.RandomMoments(), random_moments),
    (tm.MoEx(), moex),
    (tm.MoEx(alpha=0.3), moex),
    (tm.MoEx(moment="mean"), moex),
    (tm.MoEx(moment="std", alpha=0.3), moex),
    (tm.MixStyle(), mixstyle),
    (tm.EFDMix(), efdmix),
    (tm.DSU(), dsu),
    (tm.CrossNorm(), crossnorm),
    (tm.CrossNorm(crop="style"), crossnorm),
    (tm.CrossNorm(crop="content"), crossnorm),
    (tm.CrossNorm(crop="both"), crossnorm),
    (tm.PermutedAdaIN(), padain),
    (example.RMSExchange(), example.rms),
]


def draw_for(mixer, seed: int = 0) -> tm.Draw:
    """A draw of the mixer with the partners, masks and weights of this file."""
    drawn = None
    generator = torch.Generator().manual_seed(seed)
    while drawn is None:
        drawn = dataclasses.replace(mixer, p=1).draw(len(PARTNER), generator=generator)
    weight = torch.tensor(WEIGHT, dtype=torch.float64)
    return dataclasses.replace(
        drawn,
        partner=torch.tensor(PARTNER),
        mixed=torch.tensor(MIXED),
        moment_weight=weight if isinstance(drawn.moment_weight, Tensor) else drawn.moment_weight,
    )


def features(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    scale = 0.5 + torch.rand(*shape[:2], *[1] * (len(shape) - 2), dtype=torch.float64, generator=generator)
    return (x * scale + scale.flip(0)).requires_grad_()


@pytest.mark.parametrize("shape", [(5, 3, 4, 5), (5, 3, 7), (5, 2, 4, 4, 4)], ids=["maps", "sequences", "volumes"])
@pytest.mark.parametrize(("mixer", "formula"), FORMULAS, ids=[repr(mixer) for mixer, _ in FORMULAS])
def test_values_and_gradients_are_those_of_the_formula(mixer, formula, shape):
    x = features(*shape)
    for seed in range(3 if isinstance(mixer, tm.CrossNorm) else 1):
        draw = draw_for(mixer, seed)
        results = []
        for y in (mixer(x, draw), formula(mixer, x, draw)):
            upstream = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            results.append((y.detach(), torch.autograd.grad((y * upstream).sum(), x)[0]))
        # DSU makes its noise in float32.
        tolerance = 1e-5 if isinstance(mixer, tm.DSU) else 1e-10
        for name, ours, formulas in zip(("value", "gradient"), *results, strict=True):
            torch.testing.assert_close(
                ours, formulas, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("norm", ["pono", "in", "gn3", "gpono2"])
def test_mixers_with_a_norm_of_their_own_take_any(norm):
    """With another norm, MixStyle is MoEx with blended and detached moments, and Permuted AdaIN nearly MoEx too."""
    x = features(5, 6, 4, 4)
    draw = draw_for(tm.MixStyle())
    torch.testing.assert_close(
        tm.MixStyle(norm=norm, eps=1e-5)(x, draw), tm.MoEx(norm=norm, grad="none", alpha=1.0)(x, draw)
    )
    draw = draw_for(tm.MoEx())
    torch.testing.assert_close(
        tm.PermutedAdaIN(norm=norm)(x, draw), tm.MoEx(norm=norm, grad="own")(x, draw), rtol=1e-3, atol=1e-3
    )


def test_ties_are_ranked_by_position():
    """After a ReLU many values are 0; the published sort leaves their order open."""
    x = torch.zeros(2, 1, 4)
    x[1, 0] = torch.tensor([4.0, 1.0, 3.0, 2.0])
    draw = tm.Draw(torch.tensor([1, 0]))
    assert tm.EFDMix()(x, draw)[0, 0].tolist() == [1, 2, 3, 4]
    assert tm.EFDMix()(x, draw)[1, 0].tolist() == [0, 0, 0, 0]


def test_the_noise_of_dsu_is_standard_normal_and_independent():
    from torchmoments.mixers.dsu import normal_noise

    key = torch.randint(2**62, (500,), generator=torch.Generator().manual_seed(0))
    n1, n2 = normal_noise(key, torch.zeros(500, 400))
    scipy_stats = pytest.importorskip("scipy.stats")
    for noise in (n1, n2):
        assert scipy_stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
        # of neighbouring channels, and of neighbouring samples
        for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])):
            assert abs((a * b).mean()) < 4 / a.numel() ** 0.5
    assert abs((n1 * n2).mean()) < 4 / n1.numel() ** 0.5
    # Keys in a row are no less random than drawn ones.
    n1, _ = normal_noise(torch.arange(500), torch.zeros(500, 400))
    assert scipy_stats.kstest(n1.flatten().numpy(), "norm").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("length", [4, 8, 56])
def test_boxes_have_the_published_distribution(length):
    """Against the published way of drawing, in whole numbers and by rejection."""
    import numpy as np

    from torchmoments.mixers.crossnorm import box

    rng = np.random.default_rng(0)

    def published() -> int:
        while True:
            side = math.floor(length * math.sqrt(rng.uniform()) / 2)
            rows, columns = (range(max(0, at - side), min(length, at + side)) for at in rng.integers(length, size=2))
            if len(rows) * len(columns) > 0.1 * length**2:
                return len(rows) * len(columns)

    generator = torch.Generator().manual_seed(0)
    ours = [int(box(torch.rand(32, 4, generator=generator), (length, length)).sum()) for _ in range(2000)]
    theirs = [published() for _ in range(2000)]
    assert min(ours) > 0.1 * length**2
    scipy_stats = pytest.importorskip("scipy.stats")
    assert scipy_stats.ks_2samp(ours, theirs).pvalue > 1e-3


def test_a_box_is_the_whole_map_when_every_try_fails():
    from torchmoments.mixers.crossnorm import box

    assert box(torch.zeros(32, 4), (6, 7)).all()


FULL = torch.tensor([1, 2, 3, 4, 0])


@pytest.mark.parametrize(
    ("mixer", "own", "partners"),
    [
        (tm.MoEx("in"), "moments", True),
        (tm.CrossNorm(), "moments", True),
        (tm.PermutedAdaIN(), "moments", False),
        (tm.EFDMix(), "identity", True),
        (tm.MixStyle(), "scale", False),
        (tm.MixStyle(grad="both"), "moments", True),
    ],
    ids=repr,
)
def test_the_gradient_flows_through_the_moments_that_the_method_says(mixer, own, partners):
    """Sample 0 wears the moments of sample 1. Adding a constant to sample 0 says whether its own are differentiated."""
    x = features(5, 3, 4, 4)
    y = mixer(x, tm.Draw(FULL))
    upstream = torch.randn(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((y[0] * upstream).sum(), x)
    along_a_constant = gradient[0].sum((1, 2))
    scale = x.detach()[1].std((1, 2)) / x.detach()[0].std((1, 2))
    total = upstream.sum((1, 2))
    expected = {"moments": torch.zeros_like(total), "identity": total, "scale": scale * total}[own]
    torch.testing.assert_close(along_a_constant, expected, rtol=1e-4, atol=1e-4)
    assert bool((gradient[1] != 0).any()) == partners
    assert not gradient[2:].any()


def test_the_gradient_of_dsu_flows_through_the_moments_of_the_whole_batch():
    x = features(5, 3, 4, 4)
    y = tm.DSU()(x, draw_for(tm.DSU()))
    (gradient,) = torch.autograd.grad(y[0].square().sum(), x)
    assert all(gradient[b].any() for b in range(5))
