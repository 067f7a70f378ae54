"""Moments and renormalize with their backward in closed form, against the definition: values, gradients, dtypes."""

import pytest
import torch

import torchmoments as tm
from torchmoments.ops import closed_form, reference
from torchmoments.ops.norms import group


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(closed_form, "SMALL", 0)
    monkeypatch.setattr(closed_form, "BLOCK", 72)


def features(dtype=torch.float64):
    return (
        torch.randn(5, 6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        .to(dtype)
        .requires_grad_()
    )


def of_moments(of, x):
    shape = of(x).mean.shape
    upstream = [torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k)) for k in (1, 2)]
    mean, std = of(x)
    return mean, std, *torch.autograd.grad((mean, std), x, [g.to(mean) for g in upstream])


@pytest.mark.parametrize("norm", ["pono", "in", "ln", "gn2", "gpono2", (1, 3)])
def test_moments_and_their_gradient_match_the_definition(norm):
    x = features()
    grouped = group(x, norm)
    mine = of_moments(lambda x: tm.moments(x, norm), x)
    right = of_moments(
        lambda x: tm.Moments(*map(grouped.broadcast, reference.moments(group(x, norm).view, grouped.axes, 1e-5))), x
    )
    torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-10)


def test_moments_have_a_gradient_of_their_gradient():
    assert torch.autograd.gradgradcheck(lambda x: tuple(tm.moments(x, "in", eps=1e-2)), features())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("axes", [(1,), (2, 3)])
def test_renormalize_and_its_gradient_match_the_definition(axes, shared, masked, dtype):
    x = features(dtype)
    own = reference.moments(x.detach().double(), axes, 1e-5)
    new = [m.roll(1, 0)[: 1 if shared else None] for m in own]
    leaves = [m.to(reference.statistics_type(x)).clone().requires_grad_() for m in (*own, *new)]
    mixed = torch.tensor([True, False, True, True, False]).reshape(5, 1, 1, 1) if masked else None
    g = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).to(dtype)
    results = []
    for renormalize in (closed_form.renormalize, reference.renormalize):
        y = renormalize(x, tm.Moments(*leaves[:2]), tm.Moments(*leaves[2:]), mixed)
        results.append((y, *torch.autograd.grad(y, (x, *leaves), g)))
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(results[0], results[1], rtol=tolerance, atol=tolerance)


def test_renormalize_has_a_gradient_of_its_gradient():
    x = features()
    moments = [torch.rand(5, 1, 2, 3, dtype=torch.float64).add_(0.5).requires_grad_() for _ in range(4)]
    assert torch.autograd.gradgradcheck(
        lambda x, m, s, n, t: closed_form.renormalize(x, tm.Moments(m, s), tm.Moments(n, t)), (x, *moments)
    )


def test_renormalize_leaves_samples_out_bit_for_bit():
    x = features(torch.float32).detach()
    x[0, 0, 0, 0], x[0, 1, 0, 0] = -0.0, float("inf")
    own = reference.moments(x, (1,), 1e-5)
    y = closed_form.renormalize(x, own, own, torch.zeros(5, 1, 1, 1, dtype=torch.bool))
    assert torch.equal(y.view(torch.int32), x.view(torch.int32))


def test_small_features_take_the_plain_formula(monkeypatch):
    taken = []
    monkeypatch.setattr(reference, "exchange", lambda x, *rest: taken.append(x) or x)
    for small in (10, 1000):
        monkeypatch.setattr(closed_form, "SMALL", small)
        tm.exchange(features(), torch.tensor([1, 0, 3, 2, 4]))
        assert len(taken) == (small == 1000)
