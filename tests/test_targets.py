"""Loss, targets and accuracy of mixed samples, against the labels written out one sample at a time."""

import itertools
from collections import OrderedDict, UserDict, defaultdict
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

import torchmoments as tm
from torchmoments.draw import compose

PARTNER = torch.tensor([2, 0, 1, 3])
OUTPUT = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 1])


def draw(weight=0.7, partner=PARTNER, mixed=None):
    mixed = torch.ones(4, dtype=torch.bool) if mixed is None else torch.tensor(mixed)
    return tm.Draw(partner, mixed, label_weight=weight)


@pytest.mark.parametrize(
    ("criterion", "output", "target"),
    [
        (F.cross_entropy, OUTPUT, CLASSES),
        (F.cross_entropy, OUTPUT, torch.eye(3)[CLASSES]),
        (F.binary_cross_entropy_with_logits, OUTPUT, torch.tensor([[0.0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]])),
        (F.mse_loss, OUTPUT[:, 0], torch.tensor([0.5, 1.5, -2.0, 3.0])),
        (F.cross_entropy, torch.randn(4, 3, 2, 2), torch.randint(3, (4, 2, 2))),
    ],
)
def test_loss_weighs_both_labels(criterion, output, target):
    expected = 0.7 * criterion(output, target) + 0.3 * criterion(output, target[PARTNER])
    torch.testing.assert_close(tm.mixed_loss(criterion, output, target, draw()), expected)


def test_lam_is_the_weight_of_the_own_label():
    target = torch.tensor([10.0, 20.0, 30.0, 40.0])
    soft = tm.mixed_targets(target, draw(0.9))
    torch.testing.assert_close(soft, torch.tensor([0.9 * 10 + 0.1 * 30, 0.9 * 20 + 0.1 * 10, 29.0, 40.0]))


def test_targets_may_be_tuples_and_dicts():
    def criterion(output, target):
        return F.cross_entropy(output, target["class"]) + F.mse_loss(output[:, 0], target["rest"][0])

    target = {"class": CLASSES, "rest": (torch.arange(4.0),)}
    permuted = {"class": CLASSES[PARTNER], "rest": (torch.arange(4.0)[PARTNER],)}
    expected = 0.7 * criterion(OUTPUT, target) + 0.3 * criterion(OUTPUT, permuted)
    torch.testing.assert_close(tm.mixed_loss(criterion, OUTPUT, target, draw()), expected)


@pytest.mark.parametrize(
    "target",
    [OrderedDict(a=CLASSES), defaultdict(list, a=CLASSES), UserDict(a=CLASSES)],
    ids=["OrderedDict", "defaultdict", "UserDict"],
)
def test_a_mapping_of_targets_stays_of_its_kind(target):
    def criterion(output, given):
        assert type(given) is type(target)
        return F.cross_entropy(output, given["a"])

    expected = 0.7 * F.cross_entropy(OUTPUT, CLASSES) + 0.3 * F.cross_entropy(OUTPUT, CLASSES[PARTNER])
    torch.testing.assert_close(tm.mixed_loss(criterion, OUTPUT, target, draw()), expected)
    assert torch.equal(target["a"], CLASSES)


def test_plans_of_one_step_have_one_batch_size():
    with pytest.raises(ValueError, match=r"the same batch size; got 4 and 3. Draw each with"):
        tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, draw(), tm.Draw(torch.arange(3), label_weight=0.5))


def test_loss_without_a_plan_is_the_criterion_itself():
    assert torch.equal(tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, None, None), F.cross_entropy(OUTPUT, CLASSES))
    kept = tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, draw(1.0))
    assert torch.equal(kept, F.cross_entropy(OUTPUT, CLASSES))


def test_a_sample_that_is_not_mixed_keeps_its_label():
    mixed = [True, False, True, False]
    soft = tm.mixed_targets(CLASSES, draw(0.7, mixed=mixed), num_classes=3)
    one_hot = F.one_hot(CLASSES, 3).float()
    for b in range(4):
        expected = 0.7 * one_hot[b] + 0.3 * one_hot[PARTNER[b]] if mixed[b] else one_hot[b]
        torch.testing.assert_close(soft[b], expected)


def test_a_criterion_that_does_not_reduce_gives_one_loss_a_sample_for_varying_weights():
    weight = torch.tensor([0.1, 0.5, 0.9, 1.0])

    def criterion(output, target):
        return F.cross_entropy(output, target, reduction="none")

    loss = tm.mixed_loss(criterion, OUTPUT, CLASSES, draw(weight))
    expected = weight * criterion(OUTPUT, CLASSES) + (1 - weight) * criterion(OUTPUT, CLASSES[PARTNER])
    torch.testing.assert_close(loss, expected)
    with pytest.raises(ValueError, match=r"varies from sample to sample.*reduction='none'"):
        tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, draw(weight))


def test_two_plans_compose_in_the_order_of_mixing():
    second_partner = torch.tensor([1, 2, 3, 0])
    soft = F.one_hot(CLASSES, 3).double()
    after_first = 0.6 * soft + 0.4 * soft[PARTNER]
    expected = 0.9 * after_first + 0.1 * after_first[second_partner]
    plans = draw(0.6), draw(0.9, second_partner)
    torch.testing.assert_close(tm.mixed_targets(soft, *plans), expected)
    output = OUTPUT.double()
    by_loss = tm.mixed_loss(F.cross_entropy, output, CLASSES, *plans)
    torch.testing.assert_close(by_loss, F.cross_entropy(output, expected))


def test_the_same_permutation_twice_makes_three_labels():
    once = [(None, 0.5), (PARTNER, 0.5)]
    twice = compose(once, [(None, 0.9), (PARTNER, 0.1)])
    assert [weight for _, weight in twice] == pytest.approx([0.45, 0.5, 0.05])
    assert torch.equal(twice[2][0], PARTNER[PARTNER])
    assert len(compose(once, [(None, 0.9), (PARTNER.clone(), 0.1)])) == 3
    assert len(compose(once, [(None, 0.9), (PARTNER.flip(0), 0.1)])) == 4


def cutmix_then_moex(output, first, second, kept, lam):
    """The published loss, written by hand: CutMix keeps the part `kept` of an image, MoEx the weight lam of a label."""

    def loss(labels):
        return F.cross_entropy(output, labels)

    return lam * (kept * loss(CLASSES) + (1 - kept) * loss(CLASSES[first])) + (1 - lam) * (
        kept * loss(CLASSES[second]) + (1 - kept) * loss(CLASSES[first][second])
    )


def test_cutmix_and_moex_with_one_permutation_give_the_three_labels_of_the_authors():
    cutmix, moex = tm.Draw(PARTNER, label_weight=0.6), draw(0.9)
    expected = cutmix_then_moex(OUTPUT, PARTNER, PARTNER, 0.6, 0.9)
    calls = []

    def counted(output, target):
        calls.append(target)
        return F.cross_entropy(output, target)

    torch.testing.assert_close(tm.mixed_loss(counted, OUTPUT, CLASSES, cutmix, moex), expected)
    assert len(calls) == 3


def test_independent_permutations_give_four_labels_in_the_order_of_mixing():
    other = torch.tensor([1, 2, 3, 0])
    cutmix, moex = tm.Draw(PARTNER, label_weight=0.6), draw(0.9, other)
    expected = cutmix_then_moex(OUTPUT, PARTNER, other, 0.6, 0.9)
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, cutmix, moex), expected)
    assert len(compose(cutmix.terms, moex.terms)) == 4


def test_soft_targets_of_torchvision_go_before_ours():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    torch.manual_seed(0)
    _, soft = v2.CutMix(num_classes=3)(torch.randn(4, 3, 8, 8), CLASSES)
    assert soft.shape == (4, 3)
    expected = 0.7 * F.cross_entropy(OUTPUT, soft) + 0.3 * F.cross_entropy(OUTPUT, soft[PARTNER])
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, OUTPUT, soft, draw()), expected)
    torch.testing.assert_close(tm.mixed_targets(soft, draw()), 0.7 * soft + 0.3 * soft[PARTNER])


def test_soft_targets_of_timm_go_before_ours():
    data = pytest.importorskip("timm.data")
    mixup = data.Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, num_classes=3, label_smoothing=0.1)
    _, soft = mixup(torch.randn(4, 3, 8, 8), CLASSES)
    expected = 0.7 * F.cross_entropy(OUTPUT, soft) + 0.3 * F.cross_entropy(OUTPUT, soft[PARTNER])
    torch.testing.assert_close(tm.mixed_loss(F.cross_entropy, OUTPUT, soft, draw()), expected)


def test_a_draw_without_a_mask_mixes_everybody_and_its_idle_copy_nobody():
    given = tm.Draw(PARTNER, label_weight=0.7)
    assert torch.equal(given.terms[1][0], PARTNER)
    assert not given.idle_copy().mixed.any()
    assert given.idle_copy().terms == [(None, 1.0)]


def test_soft_targets_keep_dtype_and_dense_classes_come_first():
    assert tm.mixed_targets(torch.rand(4, 3).bfloat16(), draw()).dtype == torch.bfloat16
    dense = tm.mixed_targets(torch.randint(3, (4, 2, 5)), draw(), num_classes=3)
    assert dense.shape == (4, 3, 2, 5)
    torch.testing.assert_close(dense.sum(1), torch.ones(4, 2, 5))


def test_accuracy_is_weighted_by_labels():
    output = F.one_hot(torch.tensor([0, 0, 1, 1]), 3).float()
    own = (output.argmax(1) == CLASSES).float().mean()
    partners = (output.argmax(1) == CLASSES[PARTNER]).float().mean()
    torch.testing.assert_close(tm.mixed_accuracy(output, CLASSES, draw(0.8)), 0.8 * own + 0.2 * partners)
    torch.testing.assert_close(tm.mixed_accuracy(output, CLASSES, None), own)
    torch.testing.assert_close(tm.mixed_accuracy(output, torch.eye(3)[CLASSES]), own)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES[:3], draw()), r"4 samples.*got \[3\]"),
        (lambda: tm.mixed_loss(F.cross_entropy, OUTPUT, 7, draw()), "4 samples.*got int"),
        (lambda: tm.mixed_targets(CLASSES, draw()), "class indices need num_classes"),
        (lambda: tm.mixed_targets(torch.rand(4, 3), draw(), num_classes=3), "num_classes belongs to class indices"),
        (lambda: tm.mixed_accuracy(OUTPUT, torch.rand(4)), "accuracy needs class indices"),
    ],
)
def test_wrong_targets_are_told_what_to_write(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


class Named(NamedTuple):
    classes: torch.Tensor
    value: torch.Tensor


def test_named_tuples_of_targets_stay_what_they_are():
    def criterion(output, target):
        return F.cross_entropy(output, target.classes) + F.mse_loss(output[:, 0], target.value)

    value = torch.arange(4.0)
    expected = 0.7 * criterion(OUTPUT, Named(CLASSES, value)) + 0.3 * criterion(
        OUTPUT, Named(CLASSES[PARTNER], value[PARTNER])
    )
    torch.testing.assert_close(tm.mixed_loss(criterion, OUTPUT, Named(CLASSES, value), draw()), expected)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.mixed_loss(lambda o, t: {"loss": 1}, OUTPUT, CLASSES), "it returned a dict"),
        (lambda: tm.mixed_loss(F.cross_entropy, OUTPUT, CLASSES, "plan"), "got a str"),
        (lambda: tm.Draw(PARTNER, label_weight=3.0), "label_weight needs a number from 0 to 1"),
        (lambda: tm.Draw([1, 0]), "partner needs one int64 index.*got list"),
        (lambda: tm.Draw(PARTNER.float()), r"got torch.float32 \[4\]"),
    ],
)
def test_what_is_no_plan_and_no_loss_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_whole_number_keeps_labels_too():
    assert len(tm.Draw(PARTNER, label_weight=1).terms) == 1


def test_a_weight_of_each_sample_goes_with_its_label_through_a_second_mixing():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(6, 3, generator=generator)
    one, two = (torch.randperm(6, generator=generator) for _ in range(2))
    weight = torch.rand(6, generator=generator)
    once = weight[:, None] * y + (1 - weight)[:, None] * y[one]
    mixed = tm.mixed_targets(y, tm.Draw(one, label_weight=weight), tm.Draw(two, label_weight=0.7))
    torch.testing.assert_close(mixed, 0.7 * once + 0.3 * once[two])


def test_two_classes_may_be_bools():
    assert tm.mixed_targets(torch.tensor([True, False]), num_classes=2).tolist() == [[0, 1], [1, 0]]
    assert tm.mixed_targets(torch.tensor([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize("ignore_index", [-100, 255])
@pytest.mark.parametrize("weight", [0.7, torch.tensor([0.7, 0.2, 1.0, 0.5])])
def test_pixels_of_no_class_count_in_neither_accuracy_nor_targets(ignore_index, weight):
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(4, 3, 5, 5, generator=generator)
    classes = torch.randint(3, (4, 5, 5), generator=generator)
    void = torch.rand(4, 5, 5, generator=generator) < 0.3
    target = torch.where(void, ignore_index, classes)
    plan = tm.Draw(PARTNER, label_weight=weight)
    # One pixel at a time, as `cross_entropy` counts: each term has a mean over its own pixels.
    predicted, expected = output.argmax(1), 0.0
    soft = torch.zeros(4, 3, 5, 5)
    for permutation, own in ((torch.arange(4), True), (PARTNER, False)):
        hits, counted = 0.0, 0
        for b, i, j in itertools.product(range(4), range(5), range(5)):
            label = int(target[permutation[b], i, j])
            w = float(weight if isinstance(weight, float) else weight[b])
            if label != ignore_index:
                counted += 1
                hits += (w if own else 1 - w) * (int(predicted[b, i, j]) == label)
                soft[b, label, i, j] += w if own else 1 - w
        expected += hits / counted
    accuracy = tm.mixed_accuracy(output, target, plan, ignore_index=ignore_index)
    assert float(accuracy) == pytest.approx(expected, abs=1e-6)
    found = tm.mixed_targets(target, plan, num_classes=3, ignore_index=ignore_index)
    torch.testing.assert_close(found, soft)
    of_valid = (predicted == target)[~void].float().mean()
    torch.testing.assert_close(tm.mixed_accuracy(output, target, ignore_index=ignore_index), of_valid)


def test_mixed_targets_and_mixed_loss_agree_on_pixels_of_no_class():
    output = torch.randn(4, 3, 6)
    target = torch.tensor([[0, 1, -100, 2, 1, 0]]).repeat(4, 1).roll(1, 1)
    plan = draw()
    soft = -(tm.mixed_targets(target, plan, num_classes=3) * output.log_softmax(1)).sum()
    hard = tm.mixed_loss(lambda o, t: F.cross_entropy(o, t, reduction="sum"), output, target, plan)
    torch.testing.assert_close(soft, hard)


def test_nothing_to_count_is_no_number_as_in_the_loss():
    nothing = torch.full((4,), -100)
    assert F.cross_entropy(OUTPUT, nothing).isnan()
    assert tm.mixed_accuracy(OUTPUT, nothing).isnan()


@pytest.mark.parametrize("wrong", [3, -1])
def test_classes_outside_their_number_are_refused(wrong):
    target = torch.tensor([0, 1, 2, wrong])
    with pytest.raises(ValueError, match=f"from 0 to 2, or ignore_index=-100; got {wrong}. Use the num_classes"):
        tm.mixed_targets(target, draw(), num_classes=3)
