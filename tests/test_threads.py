"""One site in several threads."""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchmoments as tm

X = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
THREADS = 4


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 4))


@pytest.mark.parametrize("run", ["eager", "compiled"])
def test_threads_follow_their_own_plans(run):
    torch._dynamo.reset()
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    called = torch.compile(model, backend="eager", fullgraph=True) if run == "compiled" else model
    plans = [None if number == 2 else site.draw(8) for number in range(THREADS)]
    expected = []
    for plan in plans:
        with site.using(plan):
            expected.append(called(X))
            if plan is not None:
                plan.terms  # noqa: B018 - the labels do not matter here
    together = threading.Barrier(THREADS)

    def outputs(number):
        together.wait()
        found = []
        for _ in range(20):
            with site.using(plans[number]):
                found.append(called(X))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        for number, found in enumerate(pool.map(outputs, range(THREADS))):
            for output in found:
                torch.testing.assert_close(output, expected[number], rtol=1e-5, atol=1e-6)


def test_a_forward_without_a_plan_stays_plain_beside_a_mixed_one():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    with site.mixing(8) as plan, ThreadPoolExecutor(1) as pool:
        mixed, plain = model(X), pool.submit(model, X).result()
        plan.terms  # noqa: B018
    assert torch.equal(plain, net()(X))
    assert not torch.equal(mixed, plain)


def gradient(model, site, plan, run):
    model.zero_grad()
    with site.using(plan):
        loss = tm.mixed_loss(F.cross_entropy, run(X), Y, plan)
    loss.backward()
    return model[0].weight.grad.clone()


def test_a_backward_in_another_thread_recomputes_with_the_plan_of_its_forward():
    """As the threads of a GPU do."""
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    recomputed = functools.partial(checkpoint, model, use_reentrant=False)
    for _ in range(3):
        plan = site.draw(8)
        expected = gradient(model, site, plan, model)
        model.zero_grad()
        with site.using(plan):
            loss = tm.mixed_loss(F.cross_entropy, recomputed(X), Y, plan)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(loss.backward).result()
        torch.testing.assert_close(model[0].weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_recomputation_is_refused_if_two_threads_mixed_at_the_same_time():
    """Their numbers overlap, so nothing tells whose forward it was."""
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    together = threading.Barrier(2)

    def loss(plan):
        together.wait()
        with site.using(plan):
            found = tm.mixed_loss(F.cross_entropy, checkpoint(model, X, use_reentrant=False), Y, plan)
            together.wait()
        return found

    with ThreadPoolExecutor(2) as pool:
        found, _ = pool.map(loss, [site.draw(8), site.draw(8)])
    with pytest.raises(RuntimeError, match="two threads ran forwards of one site at the same time"):
        found.backward()


def test_many_steps_in_threads_of_their_own_lose_no_plan(monkeypatch):
    """Each thread counts from 0, below what earlier ones have reached."""
    monkeypatch.setattr("torchmoments.blocks.REMEMBERED", 3)
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    recomputed = functools.partial(checkpoint, model, use_reentrant=False)
    for _ in range(6):
        plan = site.draw(8)
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(gradient, model, site, plan, recomputed).result()
        torch.testing.assert_close(found, gradient(model, site, plan, model), rtol=1e-4, atol=1e-6)
