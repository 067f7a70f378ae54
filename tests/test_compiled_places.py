"""That a place ran is known from compiled code too."""

import copy
import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchmoments as tm
from torchmoments.torch_internals import compiler_traces_foreign_methods

pytestmark = pytest.mark.slow  # each test compiles

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


class Net(nn.Module):
    def __init__(self, recompute: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)
        self.recompute = recompute

    def forward(self, x):
        h = checkpoint(self.stem, x, use_reentrant=False) if self.recompute else self.stem(x)
        return self.fc(self.body(h).mean((2, 3)))


def net(recompute: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(recompute)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


def compiled(model):
    return torch.compile(model, backend="aot_eager", fullgraph=True)


def test_a_copy_of_an_attached_model_is_an_error_after_places_of_that_name_were_compiled():
    first = net()
    site = tm.attach(first, tm.MoEx(p=1), at="stem", seed=0)
    with site.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, compiled(first)(X), Y, plan)
    second = net()
    site = tm.attach(second, tm.MoEx(p=1), at="stem", seed=0)
    alone = copy.deepcopy(second)
    for run in (alone, compiled(alone)):
        with pytest.raises(RuntimeError, match=r"'stem'.*did not run.*a copy of the model was called"), site.mixing(8):
            run(X)


def test_a_compiled_model_that_does_not_reach_the_place_is_an_error():
    model = net()
    model.unused = nn.Identity()
    site = tm.attach(model, tm.MoEx(p=1), at="unused", seed=0)
    with pytest.raises(RuntimeError, match=r"'unused'.*did not run"), site.mixing(8):
        compiled(model)(X)


def test_forgotten_labels_of_a_compiled_model_are_warned_about():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    run = compiled(model)
    for _ in range(2):  # The compiler may keep the plan that it traced with.
        with site.mixing(8):
            run(X)
    with pytest.warns(UserWarning, match="its labels were not"):
        site.draw(8)


@pytest.mark.parametrize("recompute", [False, True])
def test_models_of_one_class_ran_each_by_itself(recompute):
    """Inside a checkpoint that is compiled nothing can be noted at run time, and compiled code may be shared."""
    for seed in range(3):
        model, plain = net(recompute), net()
        site, twin = (tm.attach(m, tm.MoEx(p=1), at="stem", seed=seed) for m in (model, plain))
        run = compiled(model)
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with site.mixing(8) as plan:
                    loss = tm.mixed_loss(F.cross_entropy, run(X), Y, plan)
                with twin.using(plan):
                    expected = tm.mixed_loss(F.cross_entropy, plain(X), Y, plan)
            torch.testing.assert_close(
                torch.autograd.grad(loss, list(model.parameters())),
                torch.autograd.grad(expected, list(plain.parameters())),
                rtol=1e-4,
                atol=1e-5,
            )


def test_a_checkpoint_around_the_whole_compiled_model_is_no_false_error():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def run(x):
        return checkpoint(model, x, use_reentrant=False)

    with site.mixing(8) as plan:
        loss = tm.mixed_loss(F.cross_entropy, run(X), Y, plan)
    loss.backward()


def test_a_hook_of_the_model_runs_after_a_plain_one_of_its_class_was_compiled():
    """The root is not marked for compilers as places are."""
    for how in (compiled, lambda model: (model.compile(backend="aot_eager"), model)[1]):
        torch._dynamo.reset()
        how(net())(X)
        model = net()
        site = tm.attach(model, tm.MoEx(p=1), at="body", calls="first", seed=0)
        run = how(model)
        for _ in range(2):
            with site.mixing(8) as plan:
                output = run(X)
                plan.terms  # noqa: B018 - the labels do not matter here
            with site.using(plan):
                torch.testing.assert_close(output, model(X), rtol=1e-4, atol=1e-5)


class LeftToPython(Net):
    """Its body runs in code that the compiler leaves to Python."""

    @torch._dynamo.disable
    def _body(self, h):
        return self.body(h)

    def forward(self, x):
        return self.fc(self._body(self.stem(x)).mean((2, 3)))


def test_a_compiled_step_mixes_in_what_is_left_to_python():
    torch.manual_seed(0)
    model = LeftToPython()
    site = tm.attach(model, tm.MoEx(p=1, lam=0.9), at="body", seed=0)

    def step(plan):
        with site.using(plan):
            return tm.mixed_loss(F.cross_entropy, model(X), Y, plan)

    plan = site.draw(8)
    torch.testing.assert_close(torch.compile(step, backend="eager")(plan), step(plan))


@pytest.mark.thorough
def test_models_of_many_classes_are_compiled_one_after_the_other():
    for number in range(10):
        # The compiler counts its graphs for each code.
        forward = types.FunctionType(Net.forward.__code__.replace(co_firstlineno=number + 1), globals())
        model = type(f"Net{number}", (Net,), {"forward": forward})()
        site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
        with site.mixing(8) as plan:
            tm.mixed_loss(F.cross_entropy, compiled(model)(X), Y, plan)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x).relu()


@pytest.mark.skipif(not compiler_traces_foreign_methods(), reason="this torch has a graph for each forward's object")
def test_blocks_compiled_by_themselves_share_one_graph():
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph

    blocks = [Block() for _ in range(4)]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(108, 4))
    site = tm.attach(model, tm.MoEx(p=1), at="?.conv", seed=0)
    x = X.clone().requires_grad_()
    plan = site.draw(8)
    with site.using(plan):
        expected = model(x)
    for block in blocks:
        block.compile(backend=counting, fullgraph=True)
    with site.using(plan):
        torch.testing.assert_close(model(x), expected)
        plan.terms  # noqa: B018 - the labels do not matter here
    assert len(graphs) == 1


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_compiled_code_in_a_checkpoint_that_is_not_warns(use_reentrant):
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="stem", seed=0)
    x = X.clone().requires_grad_()
    with site.mixing(8) as plan:
        loss = tm.mixed_loss(F.cross_entropy, model(x), Y, plan)
    expected = torch.autograd.grad(loss, model.stem.weight)
    with site.using(plan):
        with pytest.warns(UserWarning, match=r"not compiled.*Call backward inside the block"):
            output = checkpoint(compiled(model), x, use_reentrant=use_reentrant)
        tm.mixed_loss(F.cross_entropy, output, Y, plan).backward()
    torch.testing.assert_close(model.stem.weight.grad, *expected, rtol=1e-4, atol=1e-6)
