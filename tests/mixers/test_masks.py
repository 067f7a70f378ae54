"""Padded positions: they enter no moment and pass unchanged, in every mixer that takes a mask."""

import dataclasses
import itertools
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchmoments as tm

TAKE = [
    tm.MoEx(),
    tm.MoEx("in", alpha=0.5),
    tm.MixStyle(),
    tm.CrossNorm(),
    tm.DSU(),
    tm.DSU(norm="pono"),
    tm.PermutedAdaIN(),
    tm.PermutedAdaIN(norm="pono"),
    tm.RandomMoments(),
    tm.RandomMoments("in"),
]
REFUSE = [tm.EFDMix(), tm.CrossNorm(crop="both")]
LENGTHS = [7, 5, 7, 2, 6, 7, 1, 4]
MASK = torch.arange(7) < torch.tensor(LENGTHS)[:, None]


def drawn(mixer, seed=0):
    return dataclasses.replace(mixer, p=1).draw(8, generator=torch.Generator().manual_seed(seed))


def features(dtype=torch.float64):
    x = torch.randn(8, 6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (x * torch.linspace(0.5, 2, 8, dtype=torch.float64)[:, None, None] + 0.3).to(dtype).requires_grad_()


def value_and_gradient(y, x):
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return y.detach(), torch.autograd.grad((y * upstream).sum(), x)[0]


@pytest.mark.parametrize("mixer", TAKE, ids=repr)
def test_a_mask_of_ones_is_none(mixer):
    x, draw = features(), drawn(mixer)
    masked = value_and_gradient(mixer(x, draw, torch.ones(8, 7, dtype=torch.int64)), x)
    torch.testing.assert_close(masked, value_and_gradient(mixer(x, draw), x))


@pytest.mark.parametrize("mixer", TAKE, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_padding_passes_bit_for_bit_and_its_values_change_nothing(mixer, dtype):
    x, draw = features(dtype).detach(), drawn(mixer)
    real = MASK[:, None].expand_as(x)
    results = []
    for filled in (x, torch.where(real, x, float("nan"))):
        leaf = filled.clone().requires_grad_()
        y = mixer(leaf, draw, MASK)
        assert y.dtype == dtype
        assert torch.equal(y[~real].view(torch.int16), filled[~real].view(torch.int16))
        (gradient,) = torch.autograd.grad(y[real].float().square().sum(), leaf)
        results.append((y[real], gradient))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "mixer", [m for m in TAKE if getattr(m, "norm", "in") == "in" and type(m) is not tm.DSU], ids=repr
)
def test_of_samples_of_one_length_it_is_the_mixing_of_what_is_no_padding(mixer):
    x, draw = features(), drawn(mixer)
    mask = (torch.arange(7) < 4).expand(8, -1)
    y = mixer(x, draw, mask)
    expected = torch.cat([mixer(x[..., :4], draw), x[..., 4:]], -1)
    torch.testing.assert_close(value_and_gradient(y, x), value_and_gradient(expected, x))


def mean_std(values, eps):
    mean = values.mean()
    return mean, ((values - mean).square().sum() / (len(values) - 1) + eps).sqrt()


def test_dsu_spreads_over_the_samples_that_have_the_moment():
    """Slow and stupid, for instance moments of samples of different lengths."""
    mixer, x = tm.DSU(), features()
    draw = drawn(mixer)
    rows = []
    for b in range(8):
        channels = []
        for c in range(6):
            of = {i: mean_std(x[i, c, : LENGTHS[i]], 1e-6) for i in range(8) if LENGTHS[i] > 1}
            row = x[b, c]
            if b in of:
                spread_mean = mean_std(torch.stack([of[i][0] for i in of]), 1e-6)[1]
                spread_std = mean_std(torch.stack([of[i][1] for i in of]), 1e-6)[1]
                n1, n2 = noise_of(draw, b, c)
                mean, std = of[b]
                new = (x[b, c] - mean) / std * (std + n1 * spread_std) + mean + n2 * spread_mean
                row = torch.where(MASK[b], new, row)
            channels.append(row)
        rows.append(torch.stack(channels))
    ours, right = value_and_gradient(mixer(x, draw, MASK), x), value_and_gradient(torch.stack(rows), x)
    torch.testing.assert_close(ours, right, rtol=1e-5, atol=1e-5)


def noise_of(draw, b, c):
    from torchmoments.mixers.hashing import normal_noise

    n1, n2 = normal_noise(draw.key, torch.zeros(8, 6, 1, dtype=torch.float64))
    return n1[b, c, 0], n2[b, c, 0]


@pytest.mark.parametrize("norm", ["in", "pono"])
def test_permuted_adain_takes_the_moments_that_the_partner_has(norm):
    mixer, x = tm.PermutedAdaIN(norm=norm), features()
    draw = drawn(mixer)
    expected = x.clone()
    for b in range(8):
        d = int(draw.partner[b])
        if not draw.mixed[b]:
            continue
        moments = range(6) if norm == "in" else range(7)
        for m in moments:
            mine, theirs = (x[i, m, : LENGTHS[i]] if norm == "in" else x[i, :, m] for i in (b, d))
            enough = min(LENGTHS[b], LENGTHS[d]) > 1 if norm == "in" else m < min(LENGTHS[b], LENGTHS[d])
            if enough:
                (mean, std), (donor_mean, donor_std) = mean_std(mine, 1e-5), mean_std(theirs.detach(), 1e-5)
                new = (mine - mean) / (std + 1e-5) * donor_std + donor_mean
                if norm == "in":
                    expected = expected.index_put((torch.tensor(b), torch.tensor(m), torch.arange(LENGTHS[b])), new)
                else:
                    expected = expected.index_put((torch.tensor(b), torch.arange(6), torch.tensor(m)), new)
    torch.testing.assert_close(value_and_gradient(mixer(x, draw, MASK), x), value_and_gradient(expected, x))


@pytest.mark.parametrize("norm", ["in", "pono"])
def test_random_moments_shuffle_those_that_exist(norm):
    mixer, x = tm.RandomMoments(norm, p=1, eps=1e-9), features().detach()
    y = mixer(x, drawn(mixer), MASK)
    for m in range(6 if norm == "in" else 7):
        having = [b for b in range(8) if (LENGTHS[b] > 1 if norm == "in" else m < LENGTHS[b])]
        for which in (0, 1):
            old, new = (
                sorted(
                    float(mean_std(z[b, m, : LENGTHS[b]] if norm == "in" else z[b, :, m], 1e-9)[which]) for b in having
                )
                for z in (x, y)
            )
            assert new == pytest.approx(old)


@pytest.mark.parametrize("mixer", REFUSE, ids=repr)
def test_methods_without_a_mask_say_so(mixer):
    with pytest.raises(ValueError, match="takes no mask of padded positions"):
        mixer(torch.randn(8, 6, 7), drawn(mixer), MASK)


class Net(nn.Module):
    """Tokens with a class token before them."""

    def __init__(self, recompute=False):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.num_patches = 7
        self.block = nn.LayerNorm(6)
        self.block2 = nn.Linear(6, 6)
        self.fc = nn.Linear(6, 3)
        self.recompute = recompute

    def forward(self, x):
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)

        def body(tokens):
            return self.block2(self.block(tokens))

        tokens = checkpoint(body, tokens, use_reentrant=False) if self.recompute else body(tokens)
        return self.fc(tokens.mean(1))


def net(recompute=False):
    torch.manual_seed(0)
    return Net(recompute)


Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


@pytest.mark.parametrize("run", ["eager", pytest.param("compiled", marks=pytest.mark.slow), "recomputed"])
@pytest.mark.parametrize("with_prefix", [True, False])
def test_a_site_hands_the_mask_to_its_places(run, with_prefix):
    torch._dynamo.reset()
    model, x = net(run == "recomputed"), torch.randn(8, 7, 6)
    called = torch.compile(model, backend="aot_eager", fullgraph=True) if run == "compiled" else model
    mask = torch.cat([torch.ones(8, 1, dtype=torch.bool), MASK], 1) if with_prefix else MASK
    site = tm.attach(model, tm.MoEx("in", p=1), at="block2", seed=0)
    with site.mixing(8, mask=mask) as plan:
        loss = tm.mixed_loss(F.cross_entropy, called(x), Y, plan)
    found = torch.autograd.grad(loss, list(model.parameters()))
    plain = net()
    h = plain.block2(plain.block(torch.cat([plain.cls_token.expand(8, -1, -1), x], 1)))
    mixed = tm.exchange(h[:, 1:], plan.draws["block2"].partner, "in", channel_dim=-1, mask=MASK)
    output = plain.fc(torch.cat([h[:, :1], mixed], 1).mean(1))
    expected = torch.autograd.grad(tm.mixed_loss(F.cross_entropy, output, Y, plan), list(plain.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_places_may_have_masks_of_their_own():
    model, x = net(), torch.randn(8, 7, 6)
    site = tm.attach(model, tm.MixStyle(p=1), at=["block", "block2"], seed=0)
    plan = site.draw(8)
    outputs = {}
    for masks in itertools.product([False, True], repeat=2):
        given = {place: MASK if masked else None for place, masked in zip(site.places, masks, strict=True)}
        with site.using(plan, mask=given):
            outputs[masks] = model(x)
    with site.using(plan, mask=MASK):
        torch.testing.assert_close(model(x), outputs[True, True])
    with site.using(plan):
        torch.testing.assert_close(model(x), outputs[False, False])
    assert len({float(output.sum()) for output in outputs.values()}) == 4


def test_a_mask_of_other_positions_is_an_error():
    site = tm.attach(net(), tm.MoEx(p=1), at="block2", seed=0)
    with pytest.raises(ValueError, match=r"mask needs True or 1.*shape \[8, 7\]"), site.mixing(8, mask=MASK[:, :3]):
        site.model(torch.randn(8, 7, 6))


def test_a_mask_is_gone_with_the_graph_of_its_forward():
    model = Net()
    site = tm.attach(model, tm.MoEx(p=1), at="block", seed=0)
    mask = torch.ones(8, 8, dtype=torch.bool)
    with site.mixing(8, mask=mask) as plan:
        loss = tm.mixed_loss(F.cross_entropy, model(torch.randn(8, 7, 6)), torch.zeros(8, dtype=torch.long), plan)
    alive = weakref.ref(mask)
    del mask
    assert alive() is not None
    del loss, plan
    assert alive() is None


@pytest.mark.parametrize("mask", [{"blokc": MASK}, {"block": MASK}])
def test_a_mask_that_is_of_no_place_is_refused(mask):
    site = tm.attach(Net(), tm.MoEx(p=1), at=["block", "block2"], seed=0)
    with pytest.raises(
        ValueError, match=r"mask needs a tensor for each place, 'block', 'block2'; got 'blo.*Write None"
    ):
        site.mixing(8, mask=mask)
