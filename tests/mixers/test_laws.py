"""What holds for every mixer: one table of mixers, each law once."""

import collections
import copy
import dataclasses
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

import torchmoments as tm
from tests.mixers import example


def backwards(batch_size, groups, generator):
    """A policy of the user's own."""
    return torch.arange(batch_size - 1, -1, -1)


MIXERS = [
    tm.MoEx(),
    tm.MoEx("gn2", 0.25, 0.5, 1e-6, "derangement", grad="own", positive_only=True),
    tm.MoEx(lam=1.0, alpha=0.4, moment="std", per_sample=True, partner=backwards),
    tm.MixStyle(),
    tm.MixStyle(0.3, 2.0, 1e-4, norm="pono", grad="both", moment="mean", partner="crossdomain", backend="reference"),
    tm.EFDMix(),
    tm.EFDMix(0.7, 1.5, partner="derangement", per_sample=True),
    tm.DSU(),
    tm.DSU(0.2, eps=1e-4, norm="pono", per_sample=True),
    tm.CrossNorm(),
    tm.CrossNorm(0.4, "both", eps=1e-4, partner="derangement"),
    tm.CrossNorm(crop="style", grad="own", per_sample=True),
    tm.CrossNorm(crop="content", grad="none", places_per_step=None),
    tm.PermutedAdaIN(),
    tm.PermutedAdaIN(0.5, eps=1e-4, norm="ln", partner="derangement", per_sample=True),
    tm.LabelsOnly(),
    tm.LabelsOnly(0.7, 0.5, partner="derangement", label_from="other", per_sample=True),
    tm.RandomMoments(),
    tm.RandomMoments("in", 0.7, 1.0, 1e-4, per_sample=True),
    tm.MoEx("in", label_from="other"),
    tm.MixStyle(lam=0.7),
    tm.EFDMix(lam=0.5, label_from="other"),
    tm.DSU(lam=0.9),
    tm.CrossNorm(crop="both", lam=0.8),
    tm.PermutedAdaIN(lam=0.6, per_sample=True),
    example.RMSExchange(),
]


def named(mixer):
    return repr(mixer).replace("torchmoments.", "")


every_mixer = pytest.mark.parametrize("mixer", MIXERS, ids=named)

X = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def always(mixer):
    return dataclasses.replace(mixer, p=1)


def drawn(mixer, batch_size: int = 8, seed: int = 0) -> tm.Draw:
    draw = always(mixer).draw(batch_size, generator=generator(seed))
    assert draw is not None
    return draw


def tensors(draw) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(draw).items() if isinstance(value, torch.Tensor)}


def features(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    x = torch.randn(*shape, generator=generator(seed), dtype=torch.float64)
    return (x * torch.linspace(0.5, 2, shape[0], dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))).to(dtype)


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous().view(torch.int32)


@every_mixer
def test_no_draw_gives_the_same_object(mixer):
    x = features(8, 4, 6, 6)
    assert mixer(x, None) is x


@every_mixer
def test_a_draw_that_mixes_nobody_gives_the_input_back_bit_for_bit(mixer):
    x = features(8, 4, 6, 6)
    x[0, 0, 0, 0], x[1, 1, 0, 0] = -0.0, float("inf")
    idle = drawn(mixer).idle_copy()
    assert idle.idle
    assert idle.to("cpu").idle
    assert copy.deepcopy(idle).idle
    assert not drawn(mixer).idle
    assert idle.terms == [(None, 1.0)]
    assert torch.equal(bits(mixer(x, idle)), bits(x))


@every_mixer
def test_samples_that_are_not_mixed_pass_bit_for_bit_and_the_others_change(mixer):
    x = features(8, 4, 6, 6)
    mixed = torch.tensor([True, False] * 4)
    draw = dataclasses.replace(drawn(mixer), partner=torch.arange(8).roll(1), mixed=mixed)
    y = mixer(x, draw)
    assert torch.equal(bits(y[~mixed]), bits(x[~mixed]))
    changed = [not torch.equal(y[b], x[b]) for b in range(8) if mixed[b] and not _keeps_all(draw, b)]
    # Chance may give a sample its own moments back.
    assert sum(changed) >= len(changed) - isinstance(mixer, tm.RandomMoments) if mixer.changes_features else y is x


def _keeps_all(draw, b: int) -> bool:
    """A Beta weight of 1 leaves the sample as it is."""
    return isinstance(draw.moment_weight, torch.Tensor) and bool(draw.moment_weight[b] > 0.999)


@every_mixer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(8, 4, 16), (8, 4, 6, 6), (8, 4, 4, 4, 5)])
def test_dtype_shape_and_layout_are_kept_and_the_input_is_not_written_to(mixer, dtype, shape):
    formats = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}
    for layout in {torch.contiguous_format, formats[len(shape)]}:
        x = features(*shape, dtype=dtype).contiguous(memory_format=layout)
        before = x.clone(memory_format=torch.preserve_format)
        y = mixer(x, drawn(mixer))
        assert (y.dtype, y.shape, y.device) == (x.dtype, x.shape, x.device)
        assert y.is_contiguous(memory_format=layout)
        assert (y is not x) == mixer.changes_features
        assert torch.equal(x, before)
        assert y.isfinite().all()


@every_mixer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mixed", ["all", "some"])
def test_half_types_lose_no_more_than_their_rounding(mixer, dtype, mixed):
    """Values and gradients, against float64: all is added up before it is rounded, once."""
    x = (features(8, 4, 12, 12) + 4).to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    draw = drawn(mixer)
    if mixed == "some":
        draw = dataclasses.replace(draw, partner=torch.arange(8).roll(1), mixed=torch.tensor([True, False] * 4))
    upstream = features(8, 4, 12, 12, seed=4).to(dtype)
    y, right = mixer(x, draw), mixer(exact, draw)
    (gradient,), (right_gradient,) = (
        torch.autograd.grad(output, leaf, upstream.to(output)) if mixer.changes_features else (upstream,)
        for output, leaf in ((y, x), (right, exact))
    )
    for mine, expected in ((y, right), (gradient, right_gradient)):
        bound = 0.51 * torch.finfo(dtype).eps * expected.abs() + 2e-5 * expected.abs().max()
        assert ((mine.double() - expected).abs() <= bound).all()


@every_mixer
def test_the_same_draw_gives_the_same_bits_and_leaves_random_numbers_alone(mixer):
    state = torch.get_rng_state()
    x, draw = features(8, 4, 6, 6), drawn(mixer)
    first = mixer(x, draw)
    assert torch.equal(mixer(x, draw), first)
    again = drawn(mixer)
    assert all(torch.equal(value, tensors(again)[name]) for name, value in tensors(draw).items())
    assert not all(
        torch.equal(value, tensors(drawn(mixer, seed=1))[name]) for name, value in tensors(draw).items()
    ) or (mixer.partner is backwards)
    assert torch.equal(torch.get_rng_state(), state)


@every_mixer
def test_permuting_batch_and_draw_together_permutes_the_output(mixer):
    x, draw = features(8, 4, 6, 6, dtype=torch.float64), drawn(mixer)
    if isinstance(mixer, tm.RandomMoments):
        pytest.skip("its permutations are of the batch, not of its samples")
    order = torch.randperm(8, generator=generator(5))
    of_samples = {
        name: value[order] for name, value in tensors(draw).items() if value.shape[0] == 8 and name != "boxes"
    }
    permuted = dataclasses.replace(draw, **of_samples)
    permuted = dataclasses.replace(permuted, partner=order.argsort()[permuted.partner])
    if permuted.label_partner is not None:
        permuted = dataclasses.replace(permuted, label_partner=order.argsort()[permuted.label_partner])
    torch.testing.assert_close(mixer(x[order], permuted), mixer(x, draw)[order])


@every_mixer
def test_repr_evaluates_back_to_an_equal_mixer(mixer):
    again = eval(repr(mixer), {**vars(tm), **vars(example), "backwards": backwards})
    assert again == mixer
    assert hash(again) == hash(mixer)
    assert repr(again) == repr(mixer)
    assert again != dataclasses.replace(mixer, p=0.123)


@every_mixer
def test_mixers_and_draws_can_be_copied_and_pickled(mixer):
    draw = drawn(mixer)
    for copied in (copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        if mixer.partner is not backwards:
            assert copied(mixer) == mixer
        other = copied(draw)
        assert type(other) is type(draw)
        assert all(torch.equal(value, tensors(other)[name]) for name, value in tensors(draw).items())


@every_mixer
def test_every_tensor_of_a_draw_moves_and_no_place_shares_one(mixer):
    draw = drawn(mixer)
    moved = draw.to("meta")
    assert type(moved) is type(draw)
    assert {value.device.type for value in tensors(moved).values()} == {"meta"}
    idle = draw.idle_copy()
    assert type(idle) is type(draw)
    assert tensors(idle).keys() == tensors(draw).keys()
    assert not {v.data_ptr() for v in tensors(idle).values()} & {v.data_ptr() for v in tensors(draw).values()}


@every_mixer
@pytest.mark.parametrize("batch_size", range(10))
def test_any_batch_size_is_drawn_and_mixed(mixer, batch_size):
    draw = always(mixer).draw(batch_size, generator=generator(2))
    if batch_size < 2:
        assert draw is None
        return
    if draw is None:
        # Everybody drew itself, or there is no third sample.
        assert mixer.skips_self_pairs or (mixer.label_from == "other" and batch_size == 2)
        draw = drawn(dataclasses.replace(mixer, partner="derangement", label_from="donor"), batch_size)
    x = features(batch_size, 4, 6, 6).requires_grad_()
    y = mixer(x, draw)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.slow
@every_mixer
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_realised_rate_is_p(mixer, p):
    """Of batches, or of samples. Nobody draws itself here, because some methods leave such a sample out."""
    mixer = dataclasses.replace(mixer, p=p, **({"partner": "derangement"} if mixer.partner else {}))
    g, tries = generator(), 600
    draws = [mixer.draw(8, generator=g) for _ in range(tries)]
    if mixer.per_sample:
        rate = sum(0 if draw is None else int(draw.mixed.sum()) for draw in draws) / (8 * tries)
        tries *= 8
        # Each sample has a coin of its own.
        assert p in (0, 1) or any(draw is not None and not draw.mixed.all() for draw in draws)
    else:
        assert all(draw is None or draw.mixed.all() for draw in draws)
        rate = sum(draw is not None for draw in draws) / tries
    assert abs(rate - p) <= 4 * (p * (1 - p) / tries) ** 0.5


@every_mixer
def test_another_p_leaves_everything_else_as_it_is(mixer):
    for seed in range(20):
        often, seldom = drawn(mixer, seed=seed), dataclasses.replace(mixer, p=0.5).draw(8, generator=generator(seed))
        if seldom is not None:
            assert all(
                torch.equal(value, tensors(often)[name]) for name, value in tensors(seldom).items() if name != "mixed"
            )
            assert not (seldom.mixed & ~often.mixed).any()


@pytest.mark.parametrize("alpha", [0.002, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("method", [tm.MixStyle, tm.EFDMix, tm.MoEx])
def test_strengths_are_beta_distributed_one_for_each_sample(method, alpha):
    stats = pytest.importorskip("scipy.stats")
    g, mixer = generator(), method(p=1, alpha=alpha)
    weights = torch.cat([mixer.draw(64, generator=g).moment_weight for _ in range(50)])
    # In float32 the weights of a small alpha reach 0 and 1, so those near the ends are counted, not ranked.
    inner = weights[(weights > 1e-4) & (weights < 1 - 1e-4)]
    share = stats.beta(alpha, alpha).cdf(1 - 1e-4) - stats.beta(alpha, alpha).cdf(1e-4)
    assert abs(len(inner) / len(weights) - share) < 4 * (share * (1 - share) / len(weights)) ** 0.5 + 1e-9
    assert abs((weights > 0.5).float().mean() - 0.5) < 4 * 0.5 / len(weights) ** 0.5
    if alpha >= 0.1:
        cdf = stats.beta(alpha, alpha).cdf
        low = cdf(1e-4)
        assert stats.kstest(inner.numpy(), lambda w: (cdf(w) - low) / share).pvalue > 1e-3


def test_the_label_weight_of_interpolated_moex_stays_fixed():
    draw = tm.MoEx(p=1, alpha=0.5, lam=0.8).draw(8, generator=generator())
    assert draw.moment_weight.unique().numel() == 8
    assert draw.label_weight == 0.8


def test_moex_keeps_the_label_of_a_sample_that_is_not_mixed():
    draw = tm.MoEx(p=0.5, lam=0.8, per_sample=True).draw(8, generator=generator(1))
    assert 0 < int(draw.mixed.sum()) < 8
    (_, own), (permutation, other) = draw.terms
    assert (own, other) == (0.8, pytest.approx(0.2))
    assert torch.equal(permutation, torch.where(draw.mixed, draw.partner, torch.arange(8)))


class Net(nn.Module):
    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        blocks = {
            name: nn.Sequential(nn.Conv2d(inside, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            for name, inside in (("stem", 1), ("layer1", 8), ("layer2", 8))
        }
        self.blocks = nn.ModuleDict(blocks)
        self.fc = nn.Linear(8, 4)
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.blocks["stem"](x)
        for name in ("layer1", "layer2"):
            block = self.blocks[name]
            h = block(h) if self.mode is None else checkpoint(block, h, use_reentrant=self.mode == "reentrant")
        return self.fc(h.mean((2, 3)))


PLACES = ["blocks.stem", "blocks.layer1", "blocks.layer2"]


def net(mode: str | None = None) -> Net:
    torch.manual_seed(0)
    return Net(mode)


def often(mixer):
    return dataclasses.replace(mixer, p=0.6)


@every_mixer
def test_eval_is_bit_identical_to_the_plain_model(mixer):
    model = net()
    site = tm.attach(model, often(mixer), at=PLACES, seed=0)
    plan = site.draw(8)
    model.eval()
    assert site.draw(8) is None
    with site.using(plan):
        assert torch.equal(model(X), net().eval()(X))


def once_a_class(mixers):
    """Of the mixers of one class all but the first are thorough."""
    kinds = [type(mixer) for mixer in mixers]
    return [
        pytest.param(mixer, id=named(mixer), marks=pytest.mark.thorough if type(mixer) in kinds[:number] else ())
        for number, mixer in enumerate(mixers)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("mixer", once_a_class(MIXERS))
def test_fresh_draws_do_not_recompile(mixer):
    torch._dynamo.reset()
    counter = CompileCounter()
    model, plain = net(), net()
    site, twin = (tm.attach(m, often(mixer), at=PLACES, seed=0) for m in (model, plain))
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    mixed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(8):
            with site.mixing(8) as plan:
                output = compiled(X)
                tm.mixed_loss(F.cross_entropy, output, Y, plan).backward()
            mixed += plan is not None
            with twin.mixing(8) as plan:
                torch.testing.assert_close(output, plain(X), rtol=1e-4, atol=1e-4)
    assert mixed > 2
    assert counter.frame_count <= 2


@pytest.mark.slow
@pytest.mark.parametrize("mixer", once_a_class(MIXERS))
@pytest.mark.parametrize("mode", [pytest.param("reentrant", marks=pytest.mark.thorough), "non-reentrant"])
def test_a_checkpointed_model_has_the_gradients_of_the_plain_one_over_many_seeds(mixer, mode):
    """Two forwards with plans of their own, differentiated together after both blocks ended."""
    models = net(mode), net()
    sites = [tm.attach(model, often(mixer), at=PLACES) for model in models]
    mixed = 0
    for seed in range(12):
        found = []
        for model, site in zip(models, sites, strict=True):
            site.load_state_dict({"seed": seed, "counter": 0})
            total = torch.zeros(())
            for _ in range(2):
                with site.mixing(8) as plan:
                    total = total + tm.mixed_loss(F.cross_entropy, model(X), Y, plan)
                mixed += plan is not None
            model.zero_grad()
            total.backward()
            found.append([parameter.grad.clone() for parameter in model.parameters()])
        for ours, plain in zip(*found, strict=True):
            torch.testing.assert_close(ours, plain)
    assert mixed > 24


@every_mixer
def test_label_keeping_mixers_leave_labels_alone(mixer):
    site = tm.attach(net(), always(mixer), at=PLACES, seed=0)
    kinds = collections.Counter(len(site.draw(8).terms) for _ in range(10))
    assert kinds == {2 if mixer.mixes_labels else 1: 10}
    assert mixer.mixes_labels == (mixer.lam < 1)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_crossnorm_tosses_one_coin_a_step_and_mixes_at_so_many_places(number):
    site = tm.attach(net(), tm.CrossNorm(0.6, places_per_step=number), at=PLACES, seed=0)
    counts, at = collections.Counter(), collections.Counter()
    for _ in range(300):
        plan = site.draw(8)
        active = [] if plan is None else [name for name, draw in plan.draws.items() if not draw.idle]
        counts[len(active)] += 1
        at.update(active)
        partners = [plan.draws[name].partner for name in active]
        assert not any(torch.equal(partners[0], other) for other in partners[1:])
    number = min(number, 3)
    assert set(counts) == {0, number}
    assert abs(counts[number] / 300 - 0.6) < 4 * (0.6 * 0.4 / 300) ** 0.5
    share = 0.6 * number / 3
    assert all(abs(at[place] / 300 - share) < 4 * (share * (1 - share) / 300) ** 0.5 for place in PLACES)


def test_crossnorm_may_toss_a_coin_for_each_place():
    site = tm.attach(net(), tm.CrossNorm(places_per_step=None), at=PLACES, seed=0)
    plans = [site.draw(8) for _ in range(100)]
    assert {0 if p is None else sum(not draw.idle for draw in p.draws.values()) for p in plans} == {0, 1, 2, 3}


@pytest.mark.parametrize("method", [tm.EFDMix, tm.PermutedAdaIN])
def test_a_sample_that_drew_itself_is_left_out(method):
    g, mixer = generator(), method(p=1)
    draws = [mixer.draw(4, generator=g) for _ in range(100)]
    assert any(draw is None for draw in draws)
    for draw in draws:
        assert draw is None or torch.equal(draw.mixed, draw.partner != torch.arange(4))
    assert any(draw is not None and not draw.mixed.all() for draw in draws)


def test_permuted_adain_passes_maps_of_one_position():
    x = features(8, 4, 1, 1)
    assert tm.PermutedAdaIN()(x, drawn(tm.PermutedAdaIN())) is x


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.MixStyle(alpha=0), "alpha needs a number over 0; got 0"),
        (lambda: tm.MoEx(alpha=-1), "alpha needs a number over 0"),
        (lambda: tm.MoEx(moment="variance"), "moment needs one of both, mean, std"),
        (lambda: tm.CrossNorm(crop="all"), "crop needs one of None, style, content, both"),
        (lambda: tm.CrossNorm(places_per_step=0), "places_per_step needs a whole number over 0, or None; got 0"),
        (lambda: tm.DSU(2), "p needs a number from 0 to 1"),
        (lambda: tm.DSU(norm="bn"), "nothing to exchange"),
        (lambda: tm.MixStyle(partner="nearest"), "partner needs one of random, derangement, crossdomain"),
        (lambda: tm.CrossNorm(crop="both")(features(8, 4, 3, 8), drawn(tm.CrossNorm(crop="both"))), "4 x 4 positions"),
        (lambda: tm.CrossNorm(crop="both")(features(8, 4), drawn(tm.CrossNorm(crop="both"))), "4 x 4 positions"),
        (lambda: tm.CrossNorm(crop="both")(features(8, 4, 6, 6), drawn(tm.MoEx())), "a CrossNormDraw; got a Draw"),
        (lambda: tm.DSU()(features(8, 4, 6, 6), drawn(tm.MoEx())), "needs a KeyedDraw; got a Draw"),
        (lambda: tm.EFDMix()(features(8, 4, 1, 1), drawn(tm.EFDMix())), "two values or more"),
        (lambda: tm.MixStyle()(features(4, 4, 6, 6), drawn(tm.MixStyle())), "draw is for 8 samples; got features of 4"),
        (lambda: tm.EFDMix().draw(4.0), "whole number of samples; got 4.0"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_what_to_write(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@every_mixer
def test_asking_for_a_second_gradient_leaves_the_first_as_it_is(mixer):
    # Large enough for the closed forms.
    x = torch.randn(4, 8, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draw = mixer.with_p(1.0).draw(4, generator=torch.Generator().manual_seed(2))
    (first,) = torch.autograd.grad((mixer(x, draw) * upstream).sum(), x)
    (with_graph,) = torch.autograd.grad((mixer(x, draw) * upstream).sum(), x, create_graph=True)
    torch.testing.assert_close(with_graph.detach(), first, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mixer", [m for m in MIXERS if m.partner is not backwards], ids=repr)
def test_draws_do_not_depend_on_the_default_device_and_dtype(mixer):
    def drawn():
        draw = mixer.with_p(0.9).draw(8, generator=torch.Generator().manual_seed(5))
        return {name: value for name, value in vars(draw).items() if isinstance(value, torch.Tensor)}

    expected = drawn()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            found = drawn()
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.keys() == expected.keys()
    assert all(found[name].equal(value) for name, value in expected.items())


@every_mixer
@pytest.mark.parametrize("shape", [(4, 6, 6), (4, 9)])
def test_a_batch_of_nobody_passes(mixer, shape):
    if getattr(mixer, "crop", None) and len(shape) == 2:
        shape = (4, 9, 9)
    draw = drawn(mixer)
    of_nobody = dataclasses.replace(
        draw, **{name: value[:0] for name, value in tensors(draw).items() if name != "boxes"}
    )
    x = torch.zeros(0, *shape, requires_grad=True)
    y = mixer(x, of_nobody)
    assert y.shape == x.shape
    y.sum().backward()
    if mixer.takes_mask and not getattr(mixer, "crop", None):
        assert mixer(x, of_nobody, torch.ones(0, *shape[1:], dtype=torch.bool)).shape == x.shape
