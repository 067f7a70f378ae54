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
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0, automatic=False)
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
    with pytest.raises(RuntimeError, match="several threads ran forwards of one site"):
        found.backward()


def test_many_steps_in_threads_of_their_own_lose_no_plan(monkeypatch):
    """Each thread counts from 0, below what earlier ones have reached."""
    monkeypatch.setattr("torchmoments.blocks.MAX_BLOCKS", 3)
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    recomputed = functools.partial(checkpoint, model, use_reentrant=False)
    for _ in range(6):
        plan = site.draw(8)
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(gradient, model, site, plan, recomputed).result()
        torch.testing.assert_close(found, gradient(model, site, plan, model), rtol=1e-4, atol=1e-6)


def in_a_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_recomputation_is_refused_if_two_threads_mixed_one_after_the_other(use_reentrant):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    x = X.clone().requires_grad_()

    def loss(plan):
        with site.using(plan):
            return tm.mixed_loss(F.cross_entropy, checkpoint(model, x, use_reentrant=use_reentrant), Y, plan)

    losses = [in_a_thread(loss, site.draw(8)) for _ in range(2)]
    with pytest.raises(RuntimeError, match="several threads ran forwards of one site"):
        losses[0].backward()


def test_a_thread_that_is_done_with_its_backward_is_no_question():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    recomputed = functools.partial(checkpoint, model, use_reentrant=False)
    plan, other = site.draw(8), site.draw(8)
    expected = gradient(model, site, plan, model)
    with site.using(plan):
        loss = tm.mixed_loss(F.cross_entropy, recomputed(X), Y, plan)
    in_a_thread(gradient, model, site, other, recomputed)
    model.zero_grad()
    loss.backward()
    torch.testing.assert_close(model[0].weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_plain_forward_in_a_thread_is_not_taken_for_an_earlier_mixed_one():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0, automatic=False)

    def plain_gradient(run):
        model.zero_grad()
        F.cross_entropy(run(X), Y).backward()
        return model[0].weight.grad.clone()

    expected = plain_gradient(model)
    for _ in range(3):
        in_a_thread(gradient, model, site, site.draw(8), model)
    recomputed = functools.partial(checkpoint, model, use_reentrant=False)
    torch.testing.assert_close(in_a_thread(plain_gradient, recomputed), expected, rtol=1e-4, atol=1e-6)
