"""Who becomes whose partner: across domains, of another or of the same group, by a function."""

import pytest
import torch
from torch import nn

import torchmoments as tm

NAMES = ["photo", "sketch", "photo", "art", "sketch", "photo", "art", "photo"]
CLASSES = torch.tensor([3, 3, 0, 9, 0, 3, 9, 9])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(partner, groups, number: int = 200, batch_size: int = 8):
    g, mixer = generator(), tm.MixStyle(p=1, partner=partner)
    return [mixer.draw(batch_size, groups=groups, generator=g) for _ in range(number)]


@pytest.mark.parametrize("groups", [NAMES, CLASSES, CLASSES.to(torch.uint8), [5.0, 1, 5, 1, 1, 1, 5, 5]])
@pytest.mark.parametrize(("partner", "same"), [("other-group", False), ("same-group", True)])
def test_partners_come_from_the_group_that_was_asked_for(partner, same, groups):
    labels = groups.tolist() if isinstance(groups, torch.Tensor) else groups
    for draw in draws(partner, groups):
        assert draw.mixed.all()
        for b, j in enumerate(draw.partner.tolist()):
            assert (labels[b] == labels[j]) == same
            assert b != j


@pytest.mark.parametrize("partner", ["other-group", "same-group"])
def test_every_allowed_partner_has_the_same_chance(partner):
    found = draws(partner, CLASSES, 1000)
    for b in range(8):
        allowed = [j for j in range(8) if (CLASSES[j] == CLASSES[b]) == (partner == "same-group") and j != b]
        chosen = torch.tensor([int(draw.partner[b]) for draw in found])
        counts = torch.bincount(chosen, minlength=8)[allowed].float()
        assert counts.sum() == 1000
        expected = 1000 / len(allowed)
        assert (counts - expected).abs().max() <= 4.5 * (expected * (1 - 1 / len(allowed))) ** 0.5


def test_samples_without_an_allowed_partner_are_left_out():
    alone = torch.tensor([0, 1, 1, 2])
    draw = tm.MixStyle(p=1, partner="same-group").draw(4, groups=alone, generator=generator())
    assert draw.mixed.tolist() == [False, True, True, False]
    assert draw.partner.tolist() == [0, 2, 1, 3]
    assert tm.MixStyle(p=1, partner="other-group").draw(4, groups=[7, 7, 7, 7]) is None
    assert tm.MixStyle(p=1, partner="same-group").draw(4, groups=[1, 2, 3, 4]) is None


@pytest.mark.parametrize("batch_size", range(2, 10))
def test_halves_of_a_batch_change_places(batch_size):
    half = (batch_size + 1) // 2
    for draw in draws("crossdomain", None, 50, batch_size):
        assert torch.equal(draw.partner[draw.mixed].unique(), draw.partner[draw.mixed].sort().values)
        for b, j in enumerate(draw.partner.tolist()):
            if draw.mixed[b]:
                # In an odd batch one sample of the first half meets its own half.
                assert (b < half) != (j < half) or batch_size % 2
                assert b != j
        assert draw.mixed.all() or batch_size % 2


def test_a_function_gets_the_groups_as_numbers_and_its_own_random_numbers():
    seen = []

    def policy(batch_size, groups, generator):
        seen.append((batch_size, groups, torch.rand((), generator=generator).item()))
        return torch.tensor([1, -1, 3, 2])

    mixer = tm.MoEx(p=1, partner=policy)
    draw = mixer.draw(4, groups=["b", "a", "b", "c"], generator=generator())
    mixer.draw(4, generator=generator())
    assert draw.mixed.tolist() == [True, False, True, True]
    assert draw.partner.tolist() == [1, 1, 3, 2]
    (_, groups, first), (_, none, second) = seen
    assert groups.tolist() == [0, 1, 0, 2]
    assert none is None
    assert first == second


def test_a_site_hands_the_groups_on():
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    site = tm.attach(model, tm.MixStyle(p=1, partner="other-group"), at="0", seed=0)
    x, domains = torch.randn(6, 1, 6, 6), [0, 0, 0, 1, 1, 1]
    for plan in (site.draw(6, groups=domains), site.draw(6, groups=torch.tensor(domains))):
        assert all((b < 3) != (j < 3) for b, j in enumerate(plan.draws["0"].partner.tolist()))
    with site.mixing(6, groups=domains) as plan:
        model(x)
        assert plan is not None


@pytest.mark.parametrize(
    ("partner", "groups", "sentence"),
    [
        ("other-group", None, r"partner='other-group' needs the group of each sample.*groups=labels"),
        ("same-group", None, r"partner='same-group' needs the group"),
        ("other-group", CLASSES[:5], r"one label for each of the 8 samples; got shape \[5\]"),
        ("random", CLASSES[:5], r"one label for each of the 8 samples; got shape \[5\]"),
        ("other-group", torch.zeros(8, 3), r"got shape \[8, 3\]"),
        ("same-group", NAMES[:3], "one label for each of the 8 samples; got 3"),
        ("same-group", "abcdefgh", "one label for each of the 8 samples"),
        (lambda b, groups, g: torch.zeros(b), None, r"int64 indices, shape \[8\]; got torch.float32 \[8\]"),
        (lambda b, groups, g: [0] * b, None, "int64 indices.*got list"),
        (lambda b, groups, g: torch.arange(1, b + 1), None, "indices from 0 to 7, or -1 for no partner; got 1 to 8"),
        (lambda b, groups, g: torch.arange(b) - 2, None, "got -2 to 5"),
    ],
)  # fmt: skip
def test_wrong_groups_and_partners_are_told_what_to_write(partner, groups, sentence):
    # Whatever the coin, so that a mistake does not wait for its turn.
    with pytest.raises(ValueError, match=sentence):
        tm.MixStyle(p=0, partner=partner).draw(8, groups=groups)


def test_groups_may_be_a_list_of_tensors():
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    mixer = tm.MoEx(p=1, partner="other-group")
    draws = [mixer.draw(6, groups=g, generator=torch.Generator().manual_seed(0)) for g in (labels, list(labels))]
    assert draws[0].partner.equal(draws[1].partner)
