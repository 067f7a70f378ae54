"""CutMix and MoEx with one partner for both, against the loss of the authors' script, one image at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchmoments_lab.methods import parse_method
from torchmoments_lab.models.attach import attach
from torchmoments_lab.training import train as training
from torchmoments_lab.training.criterion import Criterion

B, CLASSES, LAM = 6, 5, 0.8


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 7, 3), nn.Tanh(), nn.Conv2d(7, 4, 3), nn.Flatten(), nn.Linear(4 * 4 * 4, CLASSES)
    ).double()


def moments(h):
    """Of the channels at each position of one image [C, H, W]."""
    return h.mean(0), (h.var(0) + 1e-5).sqrt()


def by_hand(model, x, mixed, y, kept, moex):
    """The loss of the authors' `main_moex_cutmix.py`.

    Args:
        x, mixed: the images before and after CutMix.
        kept: the part of each image that is its own.
        moex: whether the coin of MoEx says so.
    """
    before, after = model[:2], model[2:]
    total = 0.0
    for b in range(B):
        # The one image whose pixels are in this one.
        partner = [c for c in range(B) if c != b and torch.isin(mixed[b], x[c]).any()]
        (a,) = partner
        (c,) = [d for d in range(B) if d != a and torch.isin(mixed[a], x[d]).any()]
        h = before(mixed[b : b + 1])[0]
        if moex:
            (mean, std), (others_mean, others_std) = moments(h), moments(before(mixed[a : a + 1])[0])
            h = (h - mean) / std * others_std + others_mean
        log = F.log_softmax(after(h[None])[0], 0)
        lam = LAM if moex else 1.0
        total -= kept * lam * log[y[b]]
        total -= ((1 - kept) * lam + kept * (1 - lam)) * log[y[a]]
        total -= (1 - kept) * (1 - lam) * log[y[c]]
    return total / B


@pytest.mark.parametrize("coin", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_are_those_of_the_authors_script(coin, seed):
    model = network()
    x = torch.randn(B, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    method = parse_method(f"cutmix+moex:lam={LAM},p={coin},at=1,same_partner=True")
    site = attach(model, method, x, seed=seed)
    # Boxes of a part of the image, neither none nor all of it.
    for start in range(100):
        mixed, soft = method.inputs(x, y, CLASSES, torch.Generator().manual_seed(start * 10 + seed))
        kept = float((mixed == x).double().mean())
        if 0.2 < kept < 0.8:
            break
    loss = training.step(model, Criterion(), site, mixed, soft.double()).loss
    mine = torch.autograd.grad(loss, list(model.parameters()))
    site.detach()
    expected = by_hand(model, x, mixed, y, kept, bool(coin))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for gradient, theirs in zip(mine, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        torch.testing.assert_close(gradient, theirs, rtol=1e-5, atol=1e-6)


def test_without_the_word_the_partners_are_others():
    x = torch.randn(B, 3, 8, 8).double()
    site = attach(network(), parse_method("cutmix+moex:p=1,at=1"), x, seed=0)
    partners = {tuple(site.draw(B).draws["1"].partner.tolist()) for _ in range(10)}
    assert len(partners) > 5
