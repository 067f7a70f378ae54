"""What each internal of PyTorch that is used has to do, in every supported version; and what is lost with one."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchmoments import torch_internals as internals

SOURCE = Path(__file__).parent.parent / "src" / "torchmoments"


def recomputed(function, x, mode):
    """Runs it in a checkpoint, twice: forward and again in backward."""
    return checkpoint(function, x, use_reentrant=mode == "reentrant")


@pytest.mark.parametrize("mode", ["reentrant", "non-reentrant"])
def test_a_recomputation_is_told_by_the_backward_that_it_is_in_and_by_its_node(mode):
    seen = []

    def part(x):
        backward = internals.backward_id()
        number = None if backward == internals.NO_BACKWARD else internals.recomputing_node_number()
        seen.append((backward, number))
        return (x * x).sin()

    assert internals.can_identify_recomputations()
    x = torch.ones(2, requires_grad=True)
    start = internals.next_node_number()
    first = recomputed(part, x * 1, mode).sum()
    middle = internals.next_node_number()
    second = recomputed(part, x * 1, mode).sum()
    end = internals.next_node_number()
    assert seen == [(internals.NO_BACKWARD, None)] * 2
    second.backward()
    first.backward()
    (one, of_second), (other, of_first) = seen[2:]
    assert internals.NO_BACKWARD not in (one, other)
    assert one != other
    assert start <= of_first < middle <= of_second < end


def test_a_checkpoint_inside_another_one_is_told_by_the_outer_node():
    numbers = []

    def inner(x):
        if internals.backward_id() != internals.NO_BACKWARD:
            numbers.append(internals.recomputing_node_number())
        return x * x

    def outer(x):
        return checkpoint(inner, x * 1, use_reentrant=True) * 1

    x = torch.ones(2, requires_grad=True)
    start = internals.next_node_number()
    loss = checkpoint(outer, x, use_reentrant=True).sum()
    end = internals.next_node_number()
    loss.backward()
    assert len(numbers) >= 2
    assert all(start <= number < end for number in numbers)


def test_a_checkpoint_is_seen_on_the_stack():
    seen = []
    checkpoint(lambda x: seen.append(internals.is_in_checkpoint()) or x, torch.ones(2), use_reentrant=False)
    assert seen == [True]
    assert not internals.is_in_checkpoint()


def test_traced_code_knows_that_it_is_in_a_checkpoint():
    torch._dynamo.reset()

    def part(x):
        return x + 10 if internals.is_in_traced_checkpoint() else x + 100

    @torch.compile(backend="eager", fullgraph=True)
    def run(x):
        return part(x), checkpoint(part, x, use_reentrant=False)

    outside, inside = run(torch.zeros(1))
    assert (float(outside), float(inside)) == (100, 10)


def test_what_is_called_at_trace_time_runs_once():
    torch._dynamo.reset()
    traced = []

    @internals.constant_when_traced
    def note(word):
        traced.append(word)
        return 5

    compiled = torch.compile(lambda x: x + note("a"), backend="eager", fullgraph=True)
    assert [float(compiled(torch.ones(()))) for _ in range(3)] == [6, 6, 6]
    assert traced == ["a"]


def test_compiled_models_are_told():
    plain, called = nn.Linear(2, 2), nn.Linear(2, 2)
    called.compile()
    assert not internals.is_compiled(plain)
    assert internals.is_compiled(called)
    assert internals.is_compiled(torch.compile(plain))


def test_a_replica_of_data_parallel_is_told():
    module = nn.Linear(2, 2)
    assert not internals.is_replica(module)
    assert internals.is_replica(module._replicate_for_data_parallel())


def test_a_function_may_be_compiled_as_often_as_it_is_said():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()

    @torch.compile(backend=counter, fullgraph=True)
    def add(x, number):
        return x + len(number)

    with internals.recompile_limit(20):
        for number in range(15):
            add(torch.ones(1), "a" * number)
    assert counter.frame_count == 15


def test_transforms_and_forward_mode_are_told():
    seen = []

    def look(x):
        seen.append(internals.transforms_are_active())
        return x.sum()

    look(torch.ones(2))
    torch.func.grad(look)(torch.ones(2))
    torch.func.jvp(look, (torch.ones(2),), (torch.ones(2),))
    with torch.autograd.forward_ad.dual_level():
        look(torch.ones(2))
    look(torch.ones(2))
    assert seen == [False, True, True, True, False]


def test_a_batch_of_gradients_is_told():
    seen = []

    class Look(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.append(internals.is_batched(g))
            return g

    x = torch.ones(2, requires_grad=True)
    torch.autograd.grad(Look.apply(x), x, torch.ones(2))
    torch.autograd.grad(Look.apply(x), x, torch.ones(3, 2), is_grads_batched=True)
    assert seen == [False, True]


def test_gammas_come_from_the_generator_alone():
    shape = torch.full((20000,), 2.5, dtype=torch.float64)
    state = torch.get_rng_state()
    first, second = (internals.standard_gamma(shape, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert abs(first.mean() - 2.5) < 4 * (2.5 / 20000) ** 0.5
    assert abs(first.var() - 2.5) < 0.2


MISSING = [
    "torch._C._current_graph_task_id",
    "torch._C._current_autograd_node",
    "torch.autograd._get_sequence_nr",
    "torch._C._are_functorch_transforms_active",
    "torch._C._functorch.is_legacy_batchedtensor",
    "torch.autograd.forward_ad._current_level",
    "torch._C._dynamo.eval_frame.skip_code",
    "torch._standard_gamma",
]
if torch.__version__ < (2, 12):  # these versions cannot do without them themselves
    MISSING = [name for name in MISSING if not name.endswith(("_transforms_active", "skip_code"))]
# Each name is taken away in a fork, so that PyTorch and its compiler are imported once.
ORDINARY = """
    import os, sys
    import torch, torch.nn.functional as F, torch._dynamo, torchmoments as tm
    from torch.utils.checkpoint import checkpoint
    for missing in sys.argv[1:]:
        if os.fork() == 0:
            break
        os.wait()
    else:
        sys.exit()
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 4))
    site = tm.attach(model, tm.MoEx(p=1), at="0", seed=0)
    x, y = torch.randn(8, 3, 32, 32), torch.randint(4, (8,))
    owner, _, name = missing.rpartition(".")
    if hasattr(eval(owner), name):
        delattr(eval(owner), name)
    with site.mixing(8) as plan:
        loss = tm.mixed_loss(F.cross_entropy, model(x), y, plan)
    torch.autograd.grad(loss, list(model.parameters()))
    model.eval()
    model(x)
    model.train()
    for run in (lambda x: checkpoint(model, x, use_reentrant=False), lambda x: tm.MixStyle(p=1).draw(8)):
        try:
            with site.mixing(8) as plan:
                run(x)
                plan.terms
                raise SystemExit
        except RuntimeError as error:
            if "lacks" in str(error):
                print(missing, error)
        except SystemExit:
            print(missing, "fine")
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def without():
    """What is printed without each internal, in a checkpoint and by a draw that needs Beta numbers."""
    program = [sys.executable, "-c", textwrap.dedent(ORDINARY), *MISSING]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return {name: [said for other, said in lines if other == name] or done.stderr for name in MISSING}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISSING)
def test_a_missing_internal_refuses_only_what_needs_it(name, without):
    in_checkpoint, with_alpha = without[name]
    recomputes = {"_current_graph_task_id", "_current_autograd_node", "_get_sequence_nr"}
    lacks = f"PyTorch {torch.__version__} lacks"
    if name.rpartition(".")[2] in recomputes:
        assert lacks in in_checkpoint
        assert "Do not use activation checkpointing" in in_checkpoint
    else:
        assert in_checkpoint == "fine"
    assert lacks in with_alpha if name == "torch._standard_gamma" else with_alpha == "fine"


def private_names(path: Path) -> set[str]:
    """Attributes with a leading underscore of what begins with `torch` or `nn`, and those of modules and nodes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            of_torch = isinstance(root, ast.Name) and root.id in ("torch", "nn")
            if of_torch or node.attr.endswith(("_hooks", "_compiled_call_impl", "_sequence_nr")):
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch."):
            found |= {alias.name for alias in node.names if alias.name.startswith("_")}
    return found


def test_internals_are_used_in_one_file_alone():
    library = [path for path in SOURCE.rglob("*.py") if "lab" not in path.relative_to(SOURCE).parts]
    used = {path.name: names for path in library if (names := private_names(path))}
    assert set(used) == {"torch_internals.py"}
    assert {"_C", "_get_sequence_nr", "_dynamo"} <= used["torch_internals.py"]
