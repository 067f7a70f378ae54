"""Triton's kernels against the reference: values and gradients. Without a GPU they run under Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import torchmoments as tm
from torchmoments import ops
from torchmoments.ops import reference, triton
from torchmoments.ops.norms import group
from torchmoments.ops.triton import launch, walk

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NORMS = ["pono", "in", "ln", "gn2", "gn-d2", "gpono2", "gpono-d3", (1, 3), (2,)]
LAYOUTS = ["contiguous", "channels_last"]
PATHS = ["whole", "walked", "chunked"]
PARTNER = torch.tensor([1, 1, 0, 3, 2], device=DEVICE)  # repeats, a self-partner, and sample 4 that gives to nobody
MIXED = torch.tensor([True, True, True, True, False], device=DEVICE)
WEIGHT = torch.tensor([0.0, 0.5, 0.3, 1.0, 0.2], device=DEVICE)
LOOPS_FAIL = DEVICE == "cpu" and torch.__version__ < (2, 12) and np.lib.NumpyVersion(np.__version__) >= "2.4.0"
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Small tiles that do not divide the sizes, and rows that count as fitting on chip, in the cache, or nowhere."""
    if request.param == "walked" and LOOPS_FAIL:
        pytest.skip("Triton's interpreter in PyTorch before 2.12 runs loops with NumPy before 2.4 only")
    monkeypatch.setattr(walk, "TILE_BYTES", 256 if request.param == "whole" else 128)
    monkeypatch.setattr(walk, "SECTOR_BYTES", 16)
    if request.param != "whole":
        monkeypatch.setattr(walk, "LARGEST_TILE", 0)
    monkeypatch.setattr(launch, "cache_bytes", lambda x: 0 if request.param == "chunked" else 2**30)
    return request.param


def features(*shape: int, dtype: torch.dtype = torch.float64, layout: str = "contiguous") -> torch.Tensor:
    """Features in the middle of a memory full of NaN."""
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    return among_nans(x.to(DEVICE, dtype), layout).requires_grad_()


def among_nans(x: torch.Tensor, layout: str = "contiguous") -> torch.Tensor:
    memory = torch.full((x.numel() + 2048,), float("nan"), dtype=x.dtype, device=x.device)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    view = memory.as_strided(x.shape, x.stride(), 1024)
    return view.copy_(x.detach())


def value_and_gradient(output: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    upstream = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return output.detach(), *torch.autograd.grad(output, inputs, upstream.to(output))


def assert_same(result: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], dtype: torch.dtype) -> None:
    for name, mine, right in zip(["value", "gradient", *range(9)], result, expected, strict=False):
        assert mine.dtype == dtype
        torch.testing.assert_close(
            mine.double(),
            right.double(),
            rtol=TOLERANCE[dtype],
            atol=TOLERANCE[dtype],
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.slow
@pytest.mark.parametrize("positive_only", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("norm", NORMS)
def test_exchange_matches_the_reference_in_every_norm_and_layout(norm, layout, positive_only):
    x = features(5, 6, 3, 7, layout=layout)
    settings = {"eps": 1e-3, "positive_only": positive_only, "mixed": MIXED, "own_weight": WEIGHT.double()}
    expected = value_and_gradient(tm.exchange(x, PARTNER, norm, backend="reference", **settings), x)
    y = tm.exchange(x, PARTNER, norm, backend="triton", **settings)
    assert_same(value_and_gradient(y, x), expected, torch.float64)
    assert y.stride() == x.stride()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "layout", "positive_only"),
    [
        ("pono", "contiguous", True),
        ("in", "channels_last", False),
        pytest.param("gn2", "channels_last", True, marks=pytest.mark.thorough),
        pytest.param("gpono2", "contiguous", False, marks=pytest.mark.thorough),
    ],
)
def test_tiles_that_do_not_divide_the_sizes_match_the_reference(path, norm, layout, positive_only):
    x = features(5, 6, 3, 3, layout=layout)
    settings = {"eps": 1e-3, "positive_only": positive_only, "mixed": MIXED, "own_weight": WEIGHT.double()}
    expected = value_and_gradient(tm.exchange(x, PARTNER, norm, backend="reference", **settings), x)
    y = tm.exchange(x, PARTNER, norm, backend="triton", **settings)
    assert_same(value_and_gradient(y, x), expected, torch.float64)


@pytest.mark.parametrize("grad", ops.GRADIENTS)
@pytest.mark.parametrize("norm", ["pono", "in"])
def test_gradient_flows_as_grad_says(norm, grad):
    x = features(5, 6, 3, 7)
    for settings in [{}, {"own_weight": 0.3, "positive_only": True}]:
        expected = value_and_gradient(tm.exchange(x, PARTNER, norm, grad=grad, backend="reference", **settings), x)
        y = tm.exchange(x, PARTNER, norm, grad=grad, backend="triton", **settings)
        assert_same(value_and_gradient(y, x), expected, torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["mean", "std"])
@pytest.mark.parametrize("norm", ["pono", pytest.param("ln", marks=pytest.mark.thorough)])
def test_one_moment_alone_can_be_exchanged(path, norm, moment):
    x = features(5, 6, 3, 3)
    settings = {"moment": moment, "own_weight": WEIGHT.double()}
    expected = value_and_gradient(tm.exchange(x, PARTNER, norm, backend="reference", **settings), x)
    y = tm.exchange(x, PARTNER, norm, backend="triton", **settings)
    assert_same(value_and_gradient(y, x), expected, torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("norm", ["pono", "in", "ln"])
def test_every_dtype_has_float32_statistics(norm, layout, dtype):
    x = features(5, 6, 3, 7, dtype=dtype, layout=layout)
    exact = x.detach().double().requires_grad_()
    expected = value_and_gradient(tm.exchange(exact, PARTNER, norm, backend="reference"), exact)
    result = value_and_gradient(tm.exchange(x, PARTNER, norm, backend="triton"), x)
    assert_same(result, expected, dtype)
    # The upstream gradient is rounded in one of the two only; and the interpreter cuts bfloat16 off instead.
    if dtype == torch.float16 or (dtype == torch.bfloat16 and DEVICE == "cuda"):
        bound = 0.51 * torch.finfo(dtype).eps * expected[0].abs() + 2e-5
        assert ((result[0].double() - expected[0]).abs() <= bound).all()
    assert result[1].stride() == x.stride()


@pytest.mark.parametrize("shape", [(2, 37), (3, 5, 11), (1, 3, 5, 1), (2, 3, 2, 3, 2), (7, 33, 1, 9), (2, 1, 5, 5)])
def test_odd_shapes_match_the_reference(shape):
    x = features(*shape, dtype=torch.float32)
    partner = torch.arange(shape[0], device=DEVICE).flip(0)
    for norm in ["pono", "in", "ln"]:
        try:
            expected = value_and_gradient(tm.exchange(x, partner, norm, backend="reference"), x)
        except ValueError:
            continue  # a moment over one value
        assert_same(value_and_gradient(tm.exchange(x, partner, norm, backend="triton"), x), expected, torch.float32)


@pytest.mark.slow
def test_nothing_outside_the_outputs_is_written(path, monkeypatch):
    x = features(5, 6, 3, 3, dtype=torch.float32)
    memories = []

    def guarded(like, **settings):
        memory = torch.full((like.numel() + 2048,), 7.0, dtype=like.dtype, device=like.device)
        memories.append((memory, like.numel()))
        return memory.as_strided(like.shape, like.stride(), 1024)

    g = torch.ones_like(x)
    real = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda x, **s: real(x, **s) if s.get("device") else guarded(x))
    for norm in ["pono", "in"]:
        y = tm.exchange(x, PARTNER, norm, backend="triton")
        torch.autograd.grad(y, x, g)
    assert len(memories) == 4
    for memory, size in memories:
        assert (memory[:1024] == 7).all()
        assert (memory[1024 + size :] == 7).all()
        assert (memory[1024 : 1024 + size] != 7).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value")  # of the interpreter, at the infinity
@pytest.mark.parametrize("norm", ["pono", "in"])
def test_samples_left_out_pass_bit_for_bit(path, norm):
    x = features(5, 6, 3, 3, dtype=torch.float32).detach()
    x[0, 0, 0, 0], x[0, 1, 0, 0] = -0.0, float("inf")
    mixed = torch.tensor([False, True, False, True, False], device=DEVICE)
    y = tm.exchange(x, torch.tensor([3, 3, 1, 1, 1], device=DEVICE), norm, mixed=mixed, backend="triton")
    assert torch.equal(y[~mixed].view(torch.int32), x[~mixed].view(torch.int32))
    assert not torch.equal(y[mixed], x[mixed])


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["pono", pytest.param("in", marks=pytest.mark.thorough)])
def test_large_offsets_lose_no_more_than_their_rounding(path, norm):
    x = features(4, 16, 3, 3, dtype=torch.float32).detach().add_(3000).requires_grad_()
    exact = x.detach().double().requires_grad_()
    partner = torch.tensor([1, 2, 3, 0], device=DEVICE)
    value, gradient = value_and_gradient(tm.exchange(x, partner, norm, backend="triton"), x)
    expected, expected_gradient = value_and_gradient(tm.exchange(exact, partner, norm, backend="reference"), exact)
    assert (value.double() - expected).abs().max() < 4 * 3000 * torch.finfo(torch.float32).eps
    assert (gradient.double() - expected_gradient).abs().max() < 1e-2


@pytest.mark.slow
def test_any_strides_of_features_and_gradient_are_accepted():
    wide = torch.randn(5, 6, 3, 6, device=DEVICE, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(5, 9, 6, device=DEVICE, dtype=torch.float64, requires_grad=True)
    for x, leaf in [(wide[..., ::2], wide), (wide.transpose(2, 3), wide), (tokens[:, 1:].movedim(2, 1), tokens)]:
        for norm in ["pono", "in"]:
            y = tm.exchange(x, PARTNER, norm, backend="triton")
            expected = tm.exchange(x, PARTNER, norm, backend="reference")
            upstream = torch.randn(y.shape[::-1], device=DEVICE, dtype=torch.float64).permute(*range(y.ndim)[::-1])
            torch.testing.assert_close(y, expected)
            torch.testing.assert_close(
                torch.autograd.grad(y, leaf, upstream), torch.autograd.grad(expected, leaf, upstream)
            )
            torch.testing.assert_close(
                torch.autograd.grad(tm.exchange(x, PARTNER, norm, backend="triton").sum(), leaf),
                torch.autograd.grad(tm.exchange(x, PARTNER, norm, backend="reference").sum(), leaf),
            )


def test_the_same_moments_are_exchanged_every_time():
    x = features(5, 6, 3, 7, dtype=torch.float32)
    partner = torch.zeros(5, dtype=torch.int64, device=DEVICE)  # all wear the same moments: atomics would show
    first, second = (value_and_gradient(tm.exchange(x, partner, backend="triton"), x) for _ in range(2))
    assert torch.equal(first[1], second[1])


@pytest.mark.slow
@pytest.mark.parametrize("positive_only", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_gradient_of_the_gradient_is_right(positive_only):
    x = features(3, 3, 2)
    partner = torch.tensor([1, 2, 2], device=DEVICE)
    assert torch.autograd.gradgradcheck(
        lambda x: tm.exchange(x, partner, eps=1e-2, positive_only=positive_only, backend="triton"), x
    )


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["pono", "in", "gn2"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("masked", [False, True])
def test_renormalize_matches_the_reference(norm, layout, masked, monkeypatch):
    monkeypatch.setattr(walk, "TILE_BYTES", 128)
    x = features(5, 6, 3, 3, layout=layout)
    grouped = group(x, norm)
    shape = reference.moments(grouped.view, grouped.axes, 1e-5).mean.shape
    own_mean, own_std, new_mean, new_std = (
        torch.rand(shape, dtype=torch.float64, device=DEVICE).add_(0.5).requires_grad_() for _ in range(4)
    )
    inputs = (x, own_mean, own_std, new_mean, new_std)
    mixed = reference.for_samples(MIXED, own_mean) if masked else None
    results = []
    for renormalize in (reference.renormalize, triton.renormalize):
        y = renormalize(grouped.view, tm.Moments(own_mean, own_std), tm.Moments(new_mean, new_std), mixed)
        results.append(value_and_gradient(grouped.restore(y), *inputs))
    assert_same(results[1], results[0], torch.float64)


def test_renormalize_takes_triton_by_name():
    x = features(5, 6, 3, 3)
    own = reference.moments(x, (1,), 1e-5)
    new = tm.Moments(*(m[PARTNER] for m in own))
    y = ops.renormalize(x, own, new, mixed=MIXED, backend="triton")
    torch.testing.assert_close(y, ops.renormalize(x, own, new, mixed=MIXED, backend="reference"))
    assert "renormalize" in repr(y.grad_fn)


@pytest.mark.slow
def test_renormalize_has_a_gradient_of_its_gradient():
    x = features(2, 3, 2)
    moments = [torch.rand(2, 1, 2, dtype=torch.float64, device=DEVICE).add_(0.5).requires_grad_() for _ in range(4)]
    assert torch.autograd.gradgradcheck(
        lambda x, m, s, n, t: triton.renormalize(x, tm.Moments(m, s), tm.Moments(n, t)), (x, *moments)
    )


def test_new_moments_may_be_shared_by_the_batch():
    x = features(5, 6, 3, 7)
    own = reference.moments(x, (1,), 1e-5)
    new = tm.Moments(*(moment.detach()[:1].clone().requires_grad_() for moment in own))
    results = [
        value_and_gradient(renormalize(x, tm.Moments(*map(torch.detach, own)), new), x, *new)
        for renormalize in (reference.renormalize, triton.renormalize)
    ]
    assert_same(results[1], results[0], torch.float64)


@pytest.mark.parametrize("own_shape", [(5, 6, 1, 1), (1, 6, 1, 1), (5, 6, 3, 7), (5, 1, 3, 7)])
@pytest.mark.parametrize("new_shape", [(5, 6, 1, 1), (5, 1, 3, 7), (1, 1, 1, 1)])
def test_renormalize_takes_moments_of_any_shape_that_broadcasts(own_shape, new_shape):
    x = features(5, 6, 3, 7)
    moments = [
        torch.rand(shape, dtype=torch.float64, device=DEVICE).add_(0.5).requires_grad_()
        for shape in (own_shape, own_shape, new_shape, new_shape)
    ]
    results = [
        value_and_gradient(renormalize(x, tm.Moments(*moments[:2]), tm.Moments(*moments[2:])), x, *moments)
        for renormalize in (triton.renormalize, reference.renormalize)
    ]
    assert_same(results[0], results[1], torch.float64)


def test_a_batch_of_gradients_is_that_of_each():
    x = features(3, 4, 2, 2)
    partner = torch.tensor([1, 2, 0], device=DEVICE)
    own = reference.moments(x.detach(), (1,), 1e-5)
    for formula in (
        lambda x: tm.exchange(x, partner, backend="triton"),
        lambda x: triton.renormalize(x, own, tm.Moments(*(m.flip(0) for m in own))),
    ):
        batch = torch.randn(4, *x.shape, dtype=torch.float64, device=DEVICE)
        (found,) = torch.autograd.grad(formula(x), x, batch, is_grads_batched=True)
        torch.testing.assert_close(found, torch.stack([torch.autograd.grad(formula(x), x, g)[0] for g in batch]))


@pytest.mark.slow
@pytest.mark.parametrize("positive_only", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_the_operators_pass_opcheck(positive_only):
    x = features(5, 6, 3, 7, dtype=torch.float32)
    for axes in ([1], [2, 3]):
        inputs = (x, PARTNER, MIXED, WEIGHT, axes, 1e-5, "both", positive_only, "both")
        torch.library.opcheck(torch.ops.torchmoments.exchange.default, inputs)
    mean, std = (m.detach().requires_grad_() for m in reference.moments(x, (1,), 1e-5))
    mixed = MIXED.reshape(5, 1, 1, 1).expand(mean.shape) if positive_only else None
    torch.library.opcheck(torch.ops.torchmoments.renormalize.default, (x, mean, std, mean, std, mixed, [1]))


@pytest.mark.slow
def test_a_compiled_function_may_hold_the_operator():
    x = features(5, 6, 3, 7, dtype=torch.float32)

    def doubled(x):
        return 2 * tm.exchange(x, PARTNER, backend="triton")

    expected = value_and_gradient(doubled(x), x)
    assert_same(
        value_and_gradient(torch.compile(doubled, fullgraph=True, backend="aot_eager")(x), x), expected, torch.float32
    )


def test_only_x_and_the_moments_are_kept():
    x = features(5, 32, 3, 7, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        tm.exchange(x, PARTNER, backend="triton")
    large = [tensor for tensor in kept if tensor.numel() >= x.numel()]
    assert [tensor.data_ptr() for tensor in large] == [x.data_ptr()]
    assert sum(tensor.numel() for tensor in kept) < 1.2 * x.numel()


def test_the_kernels_need_a_gpu_or_the_interpreter(monkeypatch):
    monkeypatch.setattr(launch, "IS_INTERPRETED", False)
    with pytest.raises(RuntimeError, match=r'backend="triton" was asked for, but x is on cpu\. Move x to a GPU'):
        tm.exchange(torch.randn(4, 6, 2, 2), torch.tensor([1, 0, 3, 2]), backend="triton")


def test_scattered_axes_are_refused_by_name_only():
    x = features(5, 2, 3, 2, 3, 2, dtype=torch.float32)
    norm = (1, 3, 5)
    assert not triton.supported(x, norm)
    assert triton.supported(x, (1, 3))
    with pytest.raises(RuntimeError, match=r'two strides at most.*Use backend="auto"'):
        tm.exchange(x, PARTNER, norm, backend="triton")
    assert tm.exchange(x, PARTNER, norm).shape == x.shape


def test_without_triton_its_name_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torchmoments.ops.triton")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ops, "triton")
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match="needs Triton. Install it with: pip install triton"):
        tm.exchange(torch.randn(4, 6, 2, 2), torch.tensor([1, 0, 3, 2]), backend="triton")


@pytest.mark.skipif(DEVICE != "cuda", reason="CUDA graphs need a GPU")
def test_a_cuda_graph_can_be_recorded():
    x, partner = torch.randn(8, 16, 9, 9, device=DEVICE, requires_grad=True), torch.arange(8, device=DEVICE).roll(1)

    def step():
        y = tm.exchange(x, partner, backend="triton")
        return y, torch.autograd.grad(y, x, torch.ones_like(y))[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        expected = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    graph.replay()
    torch.testing.assert_close(result, expected)


@pytest.mark.slow
@pytest.mark.thorough
def test_the_kernels_compile_for_a_gpu_without_spilling():
    """The real compiler, for compute capability 9.0; it needs no GPU."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    program = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    reports = [line.split() for line in done.stdout.splitlines()]
    assert {report[0] for report in reports} >= {
        "exchange_forward",
        "exchange_backward",
        "chunk_moments",
        "chunk_gradient",
    }
    for name, *numbers in reports:
        assert "stack=0" in numbers, f"{name} spills: {numbers}"
    # The first ten are of the sizes that count.
    for name, *numbers in reports[:10]:
        assert "read_bytes=16" in numbers, f"{name} reads less than 16 bytes at a time: {numbers}"


def test_renormalize_to_moments_made_of_x_has_the_same_gradient_with_a_graph():
    def gradient(renormalize, create_graph):
        x = features(5, 4, 3, 5)
        own = reference.moments(x, (1,), 1e-5)
        new = tm.Moments(own.mean + own.mean.var(0, keepdim=True), own.std * (1 + own.mean**2))
        upstream = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1)).to(x.device)
        (dx,) = torch.autograd.grad((renormalize(x, own, new) * upstream).sum(), x, create_graph=create_graph)
        return dx.detach()

    expected = gradient(reference.renormalize, create_graph=False)
    for create_graph in (False, True):
        torch.testing.assert_close(gradient(triton.renormalize, create_graph), expected)
