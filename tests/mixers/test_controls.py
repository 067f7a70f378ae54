"""Labels apart from moments: lam and label_from of every mixer, LabelsOnly, RandomMoments."""

import collections
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchmoments as tm

MIXERS = [
    tm.MoEx(),
    tm.LabelsOnly(),
    tm.MixStyle(),
    tm.EFDMix(),
    tm.DSU(),
    tm.CrossNorm(),
    tm.CrossNorm(crop="both"),
    tm.PermutedAdaIN(),
    tm.RandomMoments(),
]
every_mixer = pytest.mark.parametrize("mixer", MIXERS, ids=repr)
Y = torch.arange(8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@every_mixer
def test_labels_are_kept_by_default_but_by_moex_and_its_controls(mixer):
    assert mixer.lam == (0.9 if isinstance(mixer, tm.MoEx | tm.LabelsOnly | tm.RandomMoments) else 1)


@every_mixer
@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("label_from", ["donor", "other"])
def test_the_loss_has_the_label_that_is_said_with_the_weight_that_is_said(mixer, lam, label_from):
    if mixer.partner is None and label_from == "donor":
        with pytest.raises(ValueError, match='has no donor whose label could be mixed in.*Use label_from="other"'):
            dataclasses.replace(mixer, lam=lam, label_from=label_from)
        return
    draw = dataclasses.replace(mixer, p=1, lam=lam, label_from=label_from).draw(8, generator=generator())
    whose = draw.partner if label_from == "donor" else draw.label_partner
    whose = torch.where(draw.mixed, whose, torch.arange(8))
    output = torch.randn(8, 8)
    expected = lam * F.cross_entropy(output, Y) + (1 - lam) * F.cross_entropy(output, Y[whose])
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, output, Y, draw), expected)
    soft = tm.mixed_targets(Y, draw, num_classes=8)
    torch.testing.assert_close(soft, lam * F.one_hot(Y, 8).float() + (1 - lam) * F.one_hot(Y[whose], 8).float())


@every_mixer
def test_the_label_rule_changes_nothing_of_the_features(mixer):
    x = torch.randn(8, 4, 6, 6)
    kept = dataclasses.replace(mixer, p=1, lam=1.0)
    plain = kept.draw(8, generator=generator(3))
    for label_from in ("donor", "other")[mixer.partner is None :]:
        other = dataclasses.replace(mixer, p=1, lam=0.5, label_from=label_from)
        draw = other.draw(8, generator=generator(3))
        assert torch.equal(draw.partner, plain.partner)
        assert torch.equal(other(x, draw), kept(x, plain))


@pytest.mark.parametrize("partner", ["random", "derangement", "same-group"])
def test_the_other_label_is_that_of_a_third_sample_all_alike(partner):
    mixer, g = tm.MoEx(p=1, partner=partner, label_from="other"), generator()
    found = collections.Counter()
    for _ in range(600):
        draw = mixer.draw(5, groups=torch.tensor([0, 0, 1, 1, 1]), generator=g)
        assert not (draw.label_partner == torch.arange(5)).any()
        assert not (draw.label_partner == draw.partner).any()
        found.update(draw.label_partner[draw.partner != torch.arange(5)].tolist())
    assert max(found.values()) < 1.35 * min(found.values())
    assert tm.MoEx(p=1, partner="derangement", label_from="other").draw(2, generator=g) is None


def test_a_policy_without_a_partner_for_some_has_no_third_label_for_them():
    def one_pair(batch_size, groups, generator):
        return torch.tensor([1, 0, -1, -1])

    draw = tm.MoEx(p=1, partner=one_pair, label_from="other").draw(4, generator=generator())
    assert draw.mixed.tolist() == [True, True, False, False]
    _, (permutation, _) = draw.terms
    assert permutation[2:].tolist() == [2, 3]
    assert set(permutation[:2].tolist()) <= {2, 3}


@pytest.mark.parametrize("label_from", ["donor", "other"])
def test_labels_only_makes_the_draws_of_moex_and_leaves_the_features(label_from):
    x = torch.randn(8, 4, 6, 6)
    moex, labels = (kind(p=0.6, lam=0.7, label_from=label_from) for kind in (tm.MoEx, tm.LabelsOnly))
    a, b = generator(1), generator(1)
    for _ in range(20):
        one, other = moex.draw(8, generator=a), labels.draw(8, generator=b)
        assert (one is None) == (other is None)
        if one is not None:
            assert labels(x, other) is x
            for (first, weight), (second, same) in zip(one.terms, other.terms, strict=True):
                assert weight == same
                assert first is second or torch.equal(first, second)


def test_labels_only_goes_where_the_layout_cannot_be_told():
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(20, 8))
    site = tm.attach(model, tm.LabelsOnly(p=1), at="0", seed=0)
    x = torch.randn(8, 4, 5)
    plain = model(x)
    with site.mixing(8) as plan:
        output = model(x)
        tm.mixed_loss(F.cross_entropy, output, Y, plan)
    assert torch.equal(output, plain)


@every_mixer
def test_a_step_that_mixes_labels_mixes_at_one_place(mixer):
    model = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(4)])
    mixer = dataclasses.replace(mixer, p=1, lam=0.7, label_from="other")
    site = tm.attach(model, mixer, at=["0", "1", "2"], seed=0)
    for _ in range(20):
        plan = site.draw(8)
        assert sum(not draw.idle for draw in plan.draws.values()) == 1
        assert [weight for _, weight in plan.terms] == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize("norm", ["pono", "in", "gn2"])
def test_random_moments_are_those_of_the_batch_and_of_no_donor(norm):
    x = torch.randn(16, 8, 5, 5, dtype=torch.float64)
    mixer = tm.RandomMoments(norm, p=1, eps=1e-9)
    draw = mixer.draw(16, generator=generator())
    before, after = tm.moments(x, norm, eps=1e-9), tm.moments(mixer(x, draw), norm, eps=1e-9)
    whose = []
    for name in ("mean", "std"):
        old, new = (getattr(moments, name).reshape(16, -1) for moments in (before, after))
        # The same values in another order, moment by moment: the spread over the batch is equal.
        torch.testing.assert_close(new.sort(0).values, old.sort(0).values)
        whose.append((new[:, None] - old[None]).abs().argmin(1))
    assert torch.equal(*whose)  # mean and std come from the same sample
    if norm != "gn2":  # of two moments both may come from one sample
        assert min(len(set(row.tolist())) for row in whose[0]) >= min(6, whose[0].shape[1] // 2)


def test_random_moments_are_uniform_over_the_batch():
    from torchmoments.mixers.randommoments import permutations

    key = torch.randint(2**62, (6,), generator=generator())
    donors = permutations(key, torch.zeros(6, 30000), None)
    assert torch.equal(donors.sort(0).values, torch.arange(6)[:, None].expand_as(donors))
    counts = torch.stack([(donors == b).float().mean(1) for b in range(6)])
    assert (counts - 1 / 6).abs().max() < 5 * (1 / 6 * 5 / 6 / 30000) ** 0.5


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.MixStyle(lam=1.5), "lam needs a number from 0 to 1; got 1.5"),
        (lambda: tm.DSU(lam=True), "lam needs a number"),
        (lambda: tm.CrossNorm(label_from="third"), "label_from needs one of donor, other; got 'third'"),
        (lambda: tm.RandomMoments(norm="bn"), "nothing to exchange"),
        (
            lambda: tm.Draw(torch.arange(4), label_partner=torch.arange(3)),
            r"label_partner needs one int64.*shape \[4\]",
        ),
    ],
)
def test_wrong_input_is_told_what_to_write(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
