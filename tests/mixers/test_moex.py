"""Moment Exchange: its draws by statistics, its features by the exchange, its arguments."""

import pytest
import torch

import torchmoments as tm


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_realised_rate_is_p():
    g, mixer = generator(), tm.MoEx(p=0.3)
    rate = sum(mixer.draw(8, generator=g) is not None for _ in range(4000)) / 4000
    assert abs(rate - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5


@pytest.mark.parametrize(("p", "drawn"), [(0, 0), (1, 100)])
def test_p_zero_never_mixes_and_p_one_always(p, drawn):
    g = generator()
    assert sum(tm.MoEx(p=p).draw(8, generator=g) is not None for _ in range(100)) == drawn


@pytest.mark.parametrize("partner", ["random", "derangement"])
@pytest.mark.parametrize("batch_size", range(2, 10))
def test_partners_are_permutations(partner, batch_size):
    g, mixer = generator(), tm.MoEx(p=1, partner=partner)
    for _ in range(50):
        drawn = mixer.draw(batch_size, generator=g)
        assert torch.equal(drawn.partner.sort().values, torch.arange(batch_size))
        assert drawn.partner.dtype == torch.int64
        if partner == "derangement":
            assert not (drawn.partner == torch.arange(batch_size)).any()


@pytest.mark.parametrize(("partner", "number"), [("random", 24), ("derangement", 9)])
def test_partners_are_uniform(partner, number):
    g, mixer = generator(), tm.MoEx(p=1, partner=partner)
    seen = [tuple(mixer.draw(4, generator=g).partner.tolist()) for _ in range(200 * number)]
    counts = torch.tensor([seen.count(one) for one in sorted(set(seen))]).float()
    assert len(counts) == number
    chi_squared = ((counts - 200) ** 2 / 200).sum()
    assert chi_squared < number - 1 + 4 * (2 * (number - 1)) ** 0.5


@pytest.mark.parametrize("batch_size", [0, 1])
def test_a_batch_without_partners_is_not_mixed(batch_size):
    assert tm.MoEx(p=1).draw(batch_size) is None


def test_a_mixed_batch_is_the_exchange_and_no_draw_is_the_same_object():
    x, mixer = torch.randn(8, 6, 4, 4), tm.MoEx("in", p=1, eps=1e-3)
    drawn = mixer.draw(8, generator=generator())
    assert torch.equal(mixer(x, drawn), tm.exchange(x, drawn.partner, "in", eps=1e-3))
    assert torch.equal(mixer(x, drawn), mixer(x, drawn))
    assert mixer(x, None) is x


def test_permuting_batch_and_draw_together_permutes_the_output():
    x, mixer = torch.randn(8, 6, 4, 4), tm.MoEx(p=1)
    drawn = mixer.draw(8, generator=generator())
    order = torch.randperm(8)
    where = order.argsort()
    permuted = tm.Draw(where[drawn.partner[order]], drawn.mixed[order], label_weight=drawn.label_weight)
    torch.testing.assert_close(mixer(x[order], permuted), mixer(x, drawn)[order])


def test_draws_are_the_same_for_the_same_generator_and_leave_the_global_one():
    state = torch.get_rng_state()
    a, b = (tm.MoEx(p=1).draw(16, generator=generator(7)) for _ in range(2))
    assert torch.equal(a.partner, b.partner)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mixer", [tm.MoEx(), tm.MoEx((1, 3), 0.25, 0.5, 1e-6, "derangement", grad="own")])
def test_repr_evaluates_back(mixer):
    assert eval(repr(mixer), {"MoEx": tm.MoEx}) == mixer


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"norm": (0, 1)}, "without the batch axis 0; got \\(0, 1\\)"),
        ({"norm": (1, 1)}, "distinct axes"),
        ({"per_sample": 3}, "per_sample needs True or False; got 3"),
        ({"positive_only": "yes"}, "positive_only needs True or False; got 'yes'"),
        ({"p": 1.1}, "p needs a number from 0 to 1; got 1.1"),
        ({"p": float("nan")}, "p needs a number from 0 to 1; got nan"),
        ({"lam": -0.1}, "lam needs a number"),
        ({"lam": "0.9"}, "lam needs a number"),
        ({"eps": 0}, "eps needs a number over 0"),
        ({"norm": "bn"}, "nothing to exchange"),
        ({"norm": "pona"}, "norm needs one of"),
        ({"partner": "nearest"}, "partner needs one of random, derangement"),
        ({"grad": True}, "grad needs one of"),
        ({"backend": "cuda"}, "backend needs one of"),
    ],
)
def test_wrong_arguments_are_told_what_to_write(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        tm.MoEx(**arguments)


def test_a_draw_for_another_batch_size_is_an_error():
    with pytest.raises(ValueError, match=r"draw is for 4 samples; got features of 8"):
        tm.MoEx(p=1)(torch.randn(8, 4, 2, 2), tm.MoEx(p=1).draw(4))
    with pytest.raises(ValueError, match=r"whole number of samples; got 4.0"):
        tm.MoEx().draw(4.0)
