"""Modules that run several times in one forward of the model."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchmoments as tm

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


class Net(nn.Module):
    """One ReLU, used three times."""

    def __init__(self, recompute: str = "") -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 4)
        self.recompute = recompute

    def forward(self, x, mix=lambda h, number: h):
        def end(h):
            h = mix(self.relu(self.middle(h)), 1)
            return mix(self.relu(self.last(h)), 2)

        h = mix(self.relu(self.first(x)), 0)
        h = checkpoint(end, h, use_reentrant=False) if self.recompute == "end" else end(h)
        return self.fc(h.mean((2, 3)))


def net(recompute: str = "") -> Net:
    torch.manual_seed(0)
    return Net(recompute)


def expected(plan, chosen):
    """Output and gradients of a forward in which the calls with these numbers are mixed by hand."""
    model = net()
    partner = plan.draws["relu"].partner
    output = model(X, lambda h, number: tm.exchange(h, partner) if number in chosen else h)
    return output, gradients(model, output, plan)


def gradients(model, output, plan):
    return torch.autograd.grad(tm.mixed_loss(F.cross_entropy, output, Y, plan), list(model.parameters()))


def test_a_shared_module_is_refused_unless_the_calls_are_said():
    site = tm.attach(net(), tm.MoEx(p=1), at="relu", seed=0, automatic=False)
    with pytest.raises(RuntimeError, match=r"'relu' runs more than once.*calls=\"first\""), site.mixing(8):
        site.model(X)
    # The count starts anew with each forward, after one that failed too.
    other = tm.attach(site.model, tm.MoEx(p=1), at="first", seed=0, automatic=False)
    with other.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, site.model(X), Y, plan)
        tm.mixed_loss(F.cross_entropy, site.model(X), Y, plan)


@pytest.mark.parametrize(("calls", "chosen"), [("first", {0}), ("all", {0, 1, 2}), (0, {0}), (1, {1}), (2, {2})])
@pytest.mark.parametrize("run", ["eager", pytest.param("compiled", marks=pytest.mark.slow), "recomputed"])
def test_the_calls_that_are_said_are_mixed(calls, chosen, run):
    torch._dynamo.reset()
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="relu", calls=calls, seed=0)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True) if run == "compiled" else model
    for _ in range(2):
        with site.mixing(8) as plan:
            # A recomputation of the whole model counts its calls again.
            output = checkpoint(model, X, use_reentrant=False) if run == "recomputed" else compiled(X)
            found = gradients(model, output, plan)
        right, right_gradients = expected(plan, chosen)
        torch.testing.assert_close(output, right, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found, right_gradients, rtol=1e-4, atol=1e-5)


def test_a_call_that_never_comes_is_an_error():
    site = tm.attach(net(), tm.MoEx(p=1), at="relu", calls=3, seed=0)
    with pytest.raises(RuntimeError, match=r"'relu'.*did not run.*calls= selects"), site.mixing(8):
        site.model(X)


def test_a_part_that_is_recomputed_is_refused_if_its_call_cannot_be_told():
    model = net("end")
    site = tm.attach(model, tm.MoEx(p=1), at="relu", calls=1, seed=0)
    with site.mixing(8) as plan:
        loss = tm.mixed_loss(F.cross_entropy, model(X), Y, plan)
    with pytest.raises(RuntimeError, match=r"'relu' is recomputed, which ran 3 times.*calls=1.*Use calls=\"all\""):
        loss.backward()
    every = tm.attach(net("end"), tm.MoEx(p=1), at="relu", calls="all", seed=0)
    with every.mixing(8) as plan:
        found = gradients(every.model, every.model(X), plan)
    torch.testing.assert_close(found, expected(plan, {0, 1, 2})[1])


def test_a_call_cannot_be_counted_inside_a_checkpoint_that_is_compiled():
    torch._dynamo.reset()
    model = net("end")
    site = tm.attach(model, tm.MoEx(p=1), at="relu", calls=0, seed=0)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with pytest.raises(Exception, match="cannot be counted|Observed exception"), site.mixing(8):
        compiled(X)


def test_forwards_of_a_part_of_the_model_are_forwards_of_their_own():
    """Two views through an encoder that the program calls by itself."""
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="first", seed=0)
    with site.mixing(8) as plan:
        first, second = model.first(X), model.first(X)
        plan.terms  # noqa: B018 - the labels do not matter here
    assert torch.equal(first, second)
    assert not torch.equal(first, net().first(X))


@pytest.mark.parametrize("calls", ["last", -1, 1.0, True])
def test_other_calls_are_refused(calls):
    with pytest.raises(ValueError, match='calls needs "first", "all", or an index from 0'):
        tm.attach(net(), tm.MoEx(), at="relu", calls=calls)
