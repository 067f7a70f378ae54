"""The loss with class weights and smoothing, against the formula written out, image by image."""

import pytest
import torch
import torch.nn.functional as F

import torchmoments as tm
from torchmoments_lab.training.criterion import Criterion, balancing_weights

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
LOGITS = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)


def slow(logits, soft, weights, smoothing):
    """Image by image, class by class."""
    total = weight_of_all = 0.0
    for row, target in zip(logits.tolist(), soft.tolist(), strict=True):
        log_sum = torch.tensor(row).double().exp().sum().log().item()
        weight = sum(w * t for w, t in zip(weights, target, strict=True))
        smooth = [(1 - smoothing) * t + smoothing / len(target) for t in target]
        total += weight * sum(t * (log_sum - logit) for t, logit in zip(smooth, row, strict=True))
        weight_of_all += weight
    return total / weight_of_all


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("is_soft", [False, True])
def test_the_loss_is_the_mean_of_the_images_weighted_by_their_classes(smoothing, weights, is_soft):
    soft = F.one_hot(LABELS, 3).double()
    if is_soft:
        soft = 0.7 * soft + 0.3 * soft.flip(0)
    found = Criterion(smoothing, weights)(LOGITS, soft if is_soft else LABELS)
    expected = slow(LOGITS, soft, [1.0] * 3 if weights is None else WEIGHTS.tolist(), smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_labels_mixed_by_a_plan_and_the_same_labels_as_soft_targets_give_gradients_of_one_size():
    logits = LOGITS.clone().requires_grad_()
    draw = tm.LabelsOnly(lam=0.5, p=1.0).draw(8, generator=torch.Generator().manual_seed(0))
    plan = tm.Plan({"here": draw}, [(None, 0.5), (draw.partner, 0.5)], 8)
    (by_plan,) = torch.autograd.grad(tm.mixed_loss(Criterion(0.0, WEIGHTS), logits, LABELS, plan), logits)
    soft = tm.mixed_targets(LABELS, plan, num_classes=3).double()
    (by_targets,) = torch.autograd.grad(Criterion(0.0, WEIGHTS)(logits, soft), logits)
    assert by_plan.norm() / by_targets.norm() == pytest.approx(1, abs=0.2)
    # PyTorch's own divides by the number of images, and here by 1.375 times as much.
    (own,) = torch.autograd.grad(F.cross_entropy(logits, soft, weight=WEIGHTS), logits)
    assert own.norm() / by_targets.norm() == pytest.approx(WEIGHTS[LABELS].mean().item(), rel=0.2)


def test_balanced_all_classes_count_the_same():
    weights = balancing_weights(LABELS, 3)
    counts = torch.bincount(LABELS)
    assert (weights * counts).tolist() == pytest.approx([8 / 3] * 3)
    assert (weights * counts).sum() == pytest.approx(8)
