"""What a mixed forward does not do (draw, wait, write to its input), and where else it has to work."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchmoments as tm

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(3))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


class Net(nn.Module):
    """Its middle runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.middle(self.middle(self.conv(x)).relu()).mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


class Watch(TorchDispatchMode):
    """Names every operation that runs, and says which of them draw random numbers or wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.random: set[str] = set()
        self.waiting: set[str] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = str(function)
        if torch.Tag.nondeterministic_seeded in function.tags:
            self.random.add(name)
        if name.startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.equal", "aten.is_nonzero")):
            self.waiting.add(name)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("norm", ["pono", "in", "gn2"])
@pytest.mark.parametrize("positive_only", [False, True])
def test_forward_and_backward_draw_no_random_numbers_and_never_wait(norm, positive_only):
    model = net()
    site = tm.attach(model, tm.MoEx(norm, p=1, positive_only=positive_only), at="conv")
    with site.mixing(8) as plan, Watch() as watch:
        tm.mixed_loss(F.cross_entropy, model(X), Y, plan).backward()
    assert (watch.random, watch.waiting) == (set(), set())


def test_the_watch_sees_random_numbers_and_waiting():
    with Watch() as watch:
        torch.rand(2)
        F.dropout(X)
        X.sum().item()
    assert len(watch.random) >= 2
    assert watch.waiting


def test_one_plan_serves_several_forwards():
    model = net()
    site = tm.attach(model, tm.MoEx(p=1), at="conv", seed=0)
    plan = site.draw(8)
    with site.using(plan):
        first, second = model(X), model(X)
    with site.using(plan):
        third = model(X)
        plan.terms  # noqa: B018
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_features_keep_their_dtype_under_autocast():
    model, seen = net(), []
    site = tm.attach(model, tm.MoEx(p=1), at="conv", seed=0)
    model.conv.register_forward_hook(lambda module, arguments, output: seen.append(output))
    plain = []
    other = net()
    other.conv.register_forward_hook(lambda module, arguments, output: plain.append(output))
    with torch.autocast("cpu", torch.bfloat16), site.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, model(X), Y, plan).backward()
        other(X)
    assert seen[0].dtype == torch.bfloat16
    expected = tm.exchange(plain[0].double(), plan.draws["conv"].partner)
    error = (seen[0].double() - expected).abs()
    assert (error <= torch.finfo(torch.bfloat16).eps * 0.51 * expected.abs() + 1e-5).all()


def test_the_memory_format_of_a_channels_last_model_is_kept():
    model, seen = net().to(memory_format=torch.channels_last), []
    site = tm.attach(model, tm.MoEx(p=1), at="conv")
    model.conv.register_forward_hook(lambda module, arguments, output: seen.append(output))
    with site.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, model(X.to(memory_format=torch.channels_last)), Y, plan)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_what_a_module_gave_is_not_written_to():
    model = net()
    kept = []
    model.conv.register_forward_hook(lambda module, arguments, output: kept.append((output, output.clone())))
    site = tm.attach(model, tm.MoEx(p=1), at="conv")
    with site.mixing(8) as plan:
        tm.mixed_loss(F.cross_entropy, model(X), Y, plan).backward()
    ((output, before),) = kept
    assert torch.equal(output, before)


def test_an_attached_model_can_be_exported_in_eval_mode():
    model = net()
    tm.attach(model, tm.MoEx(p=1), at=["conv", "middle"])
    model.eval()
    exported = torch.export.export(model, (X,)).module()
    plain = torch.export.export(copy.deepcopy(net()).eval(), (X,))
    assert torch.equal(exported(X), net().eval()(X))
    assert [node.target for node in exported.graph.nodes if node.op == "call_function"] == [
        node.target for node in plain.module().graph.nodes if node.op == "call_function"
    ]


def test_the_draws_of_different_places_share_no_tensor():
    # A compiler guards on aliasing, and would compile again when another place is mixed.
    plan = tm.attach(net(), tm.MoEx(p=1), at=["conv", "middle", "fc"], seed=0).draw(8)
    tensors = [
        value for draw in plan.draws.values() for value in vars(draw).values() if isinstance(value, torch.Tensor)
    ]
    assert len(tensors) == 6
    assert len({tensor.data_ptr() for tensor in tensors}) == 6
