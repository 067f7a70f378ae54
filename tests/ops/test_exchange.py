"""The exchange against the oracle: values and gradients, every norm, gradient mode and backend."""

import itertools

import pytest
import torch

import torchmoments as tm
from tests.ops import oracle
from torchmoments.ops import closed_form

NORMS = ["pono", "in", "ln", "gn2", "gn-d2", "gpono2", "gpono-d3", (1, 3), (2,)]
GRADIENTS = ["both", "own", "donor", "none"]
BACKENDS = ["reference", "auto"]
PARTNER = [1, 1, 0, 3, 2]  # repeats, a self-partner, and sample 4 that gives to nobody


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """The closed form at any size, in blocks of one or two samples."""
    monkeypatch.setattr(closed_form, "SMALL", 0)
    monkeypatch.setattr(closed_form, "BLOCK", 72)


def features(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator, requires_grad=True)


def value_and_gradient(output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    upstream = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((output * upstream).sum(), x)
    return output.detach(), gradient


@pytest.mark.parametrize("positive_only", [False, True])
@pytest.mark.parametrize("grad", GRADIENTS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_exchange_matches_the_oracle(backend, norm, grad, positive_only):
    x = features(5, 6, 2, 3)
    expected = value_and_gradient(oracle.exchange(x, PARTNER, norm, 1e-3, grad, positive_only), x)
    y = tm.exchange(x, torch.tensor(PARTNER), norm, eps=1e-3, grad=grad, positive_only=positive_only, backend=backend)
    value, gradient = value_and_gradient(y, x)
    torch.testing.assert_close(value, expected[0], rtol=1e-10, atol=1e-10, msg=lambda m: f"value: {m}")
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-9, msg=lambda m: f"gradient: {m}")


@pytest.mark.parametrize("grad", GRADIENTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", ["pono", "in", "gn2"])
def test_mask_and_own_weight_match_the_oracle(norm, backend, grad):
    x = features(5, 4, 3, 2)
    mixed = [True, False, True, True, False]
    weight = [0.0, 0.5, 0.3, 1.0, 0.2]
    expected = value_and_gradient(oracle.exchange(x, PARTNER, norm, 1e-5, grad, False, mixed, weight), x)
    y = tm.exchange(
        x,
        torch.tensor(PARTNER),
        norm,
        grad=grad,
        mixed=torch.tensor(mixed),
        own_weight=torch.tensor(weight, dtype=torch.float64),
        backend=backend,
    )
    value, gradient = value_and_gradient(y, x)
    torch.testing.assert_close(value, expected[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("positive_only", [False, True])
@pytest.mark.parametrize("grad", GRADIENTS)
@pytest.mark.parametrize("moment", ["mean", "std"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_of_the_two_moments_alone_matches_the_oracle(backend, moment, grad, positive_only):
    x = features(5, 4, 3, 2)
    mixed = [True, False, True, True, True]
    weight = [0.0, 0.5, 0.3, 1.0, 0.2]
    expected = value_and_gradient(
        oracle.exchange(x, PARTNER, "pono", 1e-3, grad, positive_only, mixed, weight, which=moment), x
    )
    y = tm.exchange(
        x,
        torch.tensor(PARTNER),
        eps=1e-3,
        grad=grad,
        positive_only=positive_only,
        mixed=torch.tensor(mixed),
        own_weight=torch.tensor(weight, dtype=torch.float64),
        moment=moment,
        backend=backend,
    )
    value, gradient = value_and_gradient(y, x)
    torch.testing.assert_close(value, expected[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("moment", ["mean", "std"])
def test_the_moment_that_is_not_exchanged_stays(moment):
    x, partner = features(5, 6, 4, 4).detach(), torch.tensor(PARTNER)
    before, after = tm.moments(x, eps=1e-12), tm.moments(tm.exchange(x, partner, moment=moment, eps=1e-12), eps=1e-12)
    for name in ("mean", "std"):
        expected = getattr(before, name)[partner] if name == moment else getattr(before, name)
        torch.testing.assert_close(getattr(after, name), expected)


def test_renormalize_gives_the_new_moments_to_the_mixed_samples():
    from torchmoments import ops

    x = features(4, 3, 6).detach().float()
    own = tm.moments(x, "in", eps=1e-12)
    new = tm.Moments(own.mean + 2, own.std * 3)
    mixed = torch.tensor([True, False, True, False])
    y = ops.renormalize(x, own, new, mixed=mixed)
    assert torch.equal(y[~mixed], x[~mixed])
    after = tm.moments(y, "in", eps=1e-12)
    torch.testing.assert_close(after.mean[mixed], new.mean[mixed])
    torch.testing.assert_close(after.std[mixed], new.std[mixed])
    with pytest.raises(ValueError, match="mixed needs one bool"):
        ops.renormalize(x, own, new, mixed=mixed[:2])
    with pytest.raises(ValueError, match="backend of renormalize needs"):
        ops.renormalize(x, own, new, backend="fast")


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7), (5, 6, 2, 2, 3)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_number_of_positions(backend, shape):
    x = features(*shape)
    for norm in ["pono", "ln", "gpono2"] + (["in"] if len(shape) > 2 else []):
        expected = value_and_gradient(oracle.exchange(x, PARTNER, norm), x)
        result = value_and_gradient(tm.exchange(x, torch.tensor(PARTNER), norm, backend=backend), x)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["pono", "in", "ln", "gn2", "gpono-d2"])
def test_channels_may_be_last(norm):
    x = features(5, 6, 3, 4)
    partner = torch.tensor(PARTNER)
    last = x.movedim(1, -1)
    torch.testing.assert_close(
        tm.exchange(last, partner, norm, channel_dim=-1).movedim(-1, 1), tm.exchange(x, partner, norm)
    )
    ours, theirs = tm.moments(last, norm, channel_dim=-1), tm.moments(x, norm)
    torch.testing.assert_close((last - ours.mean).movedim(-1, 1), x - theirs.mean)


def test_axes_of_a_tuple_are_those_of_the_features_as_given():
    x = features(5, 7, 3, 4)  # [B, T, F, C]
    channel_first = x.movedim(-1, 1)
    given = tm.exchange(x, torch.tensor(PARTNER), (2, 3), channel_dim=-1)
    torch.testing.assert_close(given.movedim(-1, 1), tm.exchange(channel_first, torch.tensor(PARTNER), (1, 3)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_denormalize_undoes_normalize(norm, dtype):
    x = features(5, 6, 2, 3).detach().to(dtype)
    normalized, moments = tm.normalize(x, norm)
    assert normalized.dtype == dtype
    assert moments.mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}[dtype]
    torch.testing.assert_close(tm.denormalize(normalized, moments), x, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_left_out_pass_bit_for_bit(backend, norm):
    x = features(5, 6, 2, 3, dtype=torch.float32).detach()
    x[0, 0, 0, 0], x[0, 1, 0, 0] = -0.0, float("inf")
    mixed = torch.tensor([False, True, False, True, False])
    y = tm.exchange(x, torch.tensor([3, 3, 1, 1, 1]), norm, mixed=mixed, backend=backend)
    assert torch.equal(y[~mixed].view(torch.int32), x[~mixed].view(torch.int32))
    assert not torch.equal(y[mixed], x[mixed])


def assert_rounded_once(formula, x, dtype):
    """Value and gradient of a half type differ from those in float64 by one rounding, and by float32's before it."""
    upstream = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    half = x.detach().to(dtype).requires_grad_()
    exact = half.detach().double().requires_grad_()
    y, right = formula(half), formula(exact)
    gradient, right_gradient = (
        torch.autograd.grad(output, leaf, upstream.to(output)) for output, leaf in ((y, half), (right, exact))
    )
    for mine, expected in ((y, right), (gradient[0], right_gradient[0])):
        assert mine.dtype == dtype
        bound = 0.51 * torch.finfo(dtype).eps * expected.abs() + 2e-5 * expected.abs().max()
        assert ((mine.double() - expected).abs() <= bound).all()


@pytest.mark.parametrize(
    ("norm", "dtype", "backend", "positive_only", "mask"),
    [
        # gpono32: moments of two values
        *itertools.product(
            ["pono", "in", "gpono32"], [torch.bfloat16, torch.float16], BACKENDS, [False, True], [None, "mask"]
        ),
        pytest.param("gpono32", torch.bfloat16, "compiled", False, "mask", marks=pytest.mark.slow),
    ],
)
def test_half_types_are_rounded_once(norm, dtype, backend, positive_only, mask):
    positions = None if mask is None else torch.arange(64).reshape(8, 8).expand(5, -1, -1) % 3 < 2

    def formula(x):
        return tm.exchange(
            x, torch.tensor(PARTNER), norm, positive_only=positive_only, mask=positions, backend=backend, eps=1e-3
        )

    assert_rounded_once(formula, features(5, 64, 8, 8), dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", ["pono", "in", "gpono32"])
def test_layers_and_normalize_round_half_types_once(norm, dtype):
    x = features(5, 64, 4, 4)
    style = features(5, 64, 4, 4, seed=1).detach().to(dtype)
    assert_rounded_once(lambda x: tm.normalize(x, norm, eps=1e-3)[0], x, dtype)
    assert_rounded_once(lambda x: tm.PONO(norm=norm, eps=1e-3)(x)[0], x, dtype)
    assert_rounded_once(lambda x: tm.AdaIN(norm, eps=1e-3)(x, style.to(x)), x, dtype)
    assert_rounded_once(lambda x: tm.AdaIN(norm, eps=1e-3)(style.to(x), x), x, dtype)


@pytest.mark.parametrize("own_shape", [(5, 6, 1, 1), (1, 6, 1, 1), (5, 6, 2, 3), (5, 1, 2, 3)])
@pytest.mark.parametrize("new_shape", [(5, 6, 1, 1), (5, 1, 2, 3), (1, 6, 1, 1), (5, 6, 2, 3), (1, 1, 1, 1)])
def test_renormalize_takes_moments_of_any_shape_that_broadcasts(own_shape, new_shape):
    from torchmoments import ops

    results = []
    for backend in ("auto", "reference"):
        x = features(5, 6, 2, 3)
        moments = [features(*shape, seed=k) for k, shape in enumerate((own_shape, own_shape, new_shape, new_shape))]
        own, new = tm.Moments(moments[0], moments[1].exp()), tm.Moments(moments[2], moments[3].exp())
        y = ops.renormalize(x, own, new, mixed=torch.tensor([True, False, True, True, True]), backend=backend)
        upstream = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(9))
        results.append((y, *torch.autograd.grad(y, (x, *moments), upstream)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("call", ["exchange", "positive", "moments", "renormalize", "masked"])
def test_a_batch_of_gradients_is_that_of_each(call):
    """`torch.autograd.functional.jacobian(..., vectorize=True)` asks for all of them at once."""
    x, partner = features(3, 4, 2, 2), torch.tensor([1, 2, 0])
    formulas = {
        "exchange": lambda x: tm.exchange(x, partner),
        "positive": lambda x: tm.exchange(x, partner, positive_only=True),
        "moments": lambda x: torch.cat([m.flatten() for m in tm.moments(x)]),
        "renormalize": lambda x: tm.AdaIN("pono")(x, x.flip(0)),
        "masked": lambda x: tm.exchange(x, partner, "in", mask=torch.tensor([[[1, 1], [1, 0]]]).expand(3, -1, -1)),
    }
    at_once = torch.autograd.functional.jacobian(formulas[call], x, vectorize=True)
    torch.testing.assert_close(at_once, torch.autograd.functional.jacobian(formulas[call], x))
    batch = torch.randn(4, *formulas[call](x).shape, dtype=torch.float64)
    (found,) = torch.autograd.grad(formulas[call](x), x, batch, is_grads_batched=True, create_graph=True)
    each = [torch.autograd.grad(formulas[call](x), x, g)[0] for g in batch]
    torch.testing.assert_close(found, torch.stack(each))


MASK = torch.tensor(
    [[[1, 1, 1], [1, 1, 0]], [[1, 1, 1], [1, 0, 0]], [[1, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0]] * 2]
)


@pytest.mark.parametrize("positive_only", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("grad", GRADIENTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_enters_no_moment_and_passes(backend, grad, norm, positive_only):
    x = features(5, 6, 2, 3)
    mixed, weight = [True, True, True, False, True], [0.0, 0.5, 0.3, 1.0, 0.2]
    expected = oracle.exchange(x, PARTNER, norm, 1e-3, grad, positive_only, mixed, weight, mask=MASK.bool())
    expected = value_and_gradient(expected, x)
    y = tm.exchange(
        x,
        torch.tensor(PARTNER),
        norm,
        eps=1e-3,
        grad=grad,
        positive_only=positive_only,
        mixed=torch.tensor(mixed),
        own_weight=torch.tensor(weight, dtype=torch.float64),
        mask=MASK,
        backend=backend,
    )
    value, gradient = value_and_gradient(y, x)
    torch.testing.assert_close(value, expected[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("norm", ["pono", "in", "ln", "gn2", "gpono2"])
def test_whatever_stands_in_the_padding_changes_nothing(norm, padding):
    x = features(5, 6, 2, 3, dtype=torch.float32).detach()
    real = MASK.bool()[:, None].expand_as(x)
    results = []
    for filled in (x, torch.where(real, x, padding)):
        leaf = filled.clone().requires_grad_()
        y = tm.exchange(leaf, torch.tensor(PARTNER), norm, mask=MASK)
        (gradient,) = torch.autograd.grad(y[real].square().sum(), leaf)
        assert torch.equal(y[~real].view(torch.int32), filled[~real].view(torch.int32))
        results.append((y[real], gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.slow
def test_a_mask_of_ones_is_none_and_the_compiled_formula_takes_one():
    x, partner = features(5, 6, 2, 3), torch.tensor(PARTNER)
    for norm in ("pono", "in", "gn2"):
        ones = tm.exchange(x, partner, norm, mask=torch.ones(5, 2, 3, dtype=torch.bool))
        torch.testing.assert_close(ones, tm.exchange(x, partner, norm))
    torch.testing.assert_close(
        tm.exchange(x, partner, mask=MASK, backend="compiled"), tm.exchange(x, partner, mask=MASK)
    )
    last = tm.exchange(x.movedim(1, -1), partner, mask=MASK, channel_dim=-1)
    torch.testing.assert_close(last.movedim(-1, 1), tm.exchange(x, partner, mask=MASK))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", ["pono", "in", "ln"])
def test_large_offsets_lose_no_more_than_their_rounding(norm, backend):
    x = (features(4, 16, 8, 8).detach() + 3000).float().requires_grad_()
    exact = x.detach().double().requires_grad_()
    partner = torch.tensor([1, 2, 3, 0])
    value, gradient = value_and_gradient(tm.exchange(x, partner, norm, backend=backend), x)
    expected, expected_gradient = value_and_gradient(tm.exchange(exact, partner, norm), exact)
    assert (value.double() - expected).abs().max() < 4 * 3000 * torch.finfo(torch.float32).eps
    assert (gradient.double() - expected_gradient).abs().max() < 1e-2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", ["pono", "in", "gn2", "gpono2"])
def test_memory_format_is_kept_and_the_input_is_not_written_to(norm, backend):
    x = features(4, 6, 3, 5, dtype=torch.float32).detach().to(memory_format=torch.channels_last)
    before = x.clone(memory_format=torch.preserve_format)
    y = tm.exchange(x, torch.tensor([1, 0, 3, 2]), norm, backend=backend)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)
    assert tm.exchange(x.contiguous(), torch.tensor([1, 0, 3, 2]), norm, backend=backend).is_contiguous()


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_input_is_accepted(backend):
    wide = features(4, 6, 3, 10)
    x, partner = wide[..., ::2], torch.tensor([1, 0, 3, 2])
    torch.testing.assert_close(
        tm.exchange(x, partner, "gn3", backend=backend), tm.exchange(x.contiguous(), partner, "gn3")
    )


@pytest.mark.parametrize("norm", ["pono", "in"])
@pytest.mark.parametrize("positive_only", [False, True])
def test_gradient_of_the_gradient_is_right(norm, positive_only):
    x = features(3, 4, 2, 2)
    partner = torch.tensor([1, 2, 2])
    assert torch.autograd.gradgradcheck(
        lambda x: tm.exchange(x, partner, norm, eps=1e-2, positive_only=positive_only), x
    )


def test_function_transforms_see_the_plain_formula():
    x, partner = features(3, 4, 2, 2), torch.tensor([1, 2, 0])
    tangent = torch.ones_like(x)
    expected = torch.autograd.functional.jvp(lambda x: tm.exchange(x, partner, backend="reference"), x, tangent)[1]
    torch.testing.assert_close(torch.func.jvp(lambda x: tm.exchange(x, partner), (x,), (tangent,))[1], expected)
    (by_autograd,) = torch.autograd.grad(tm.exchange(x, partner).square().sum(), x)
    by_transform = torch.func.grad(lambda x: tm.exchange(x, partner).square().sum())(x)
    torch.testing.assert_close(by_transform, by_autograd)


def test_a_compiler_sees_the_plain_formula(monkeypatch):
    def fails(*arguments):
        raise AssertionError("the closed form was traced")

    monkeypatch.setattr(tm.ops.closed_form, "exchange", fails)
    x, partner = features(3, 4, 2, 2), torch.tensor([1, 2, 0])
    compiled = torch.compile(lambda x: tm.exchange(x, partner), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), tm.exchange(x, partner, backend="reference"))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["pono", "in"])
def test_compiled_backend_matches_reference(norm):
    if norm == "in" and torch.__version__.startswith("2.6."):
        pytest.skip(
            "torch 2.6's C++ code generator stops at its own assertion: a scatter inside a two-dimensional tile"
        )
    x = features(5, 6, 2, 3)
    partner = torch.tensor(PARTNER)
    expected = value_and_gradient(tm.exchange(x, partner, norm, backend="reference"), x)
    result = value_and_gradient(tm.exchange(x, partner, norm, backend="compiled"), x)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


def test_compiled_backend_says_what_is_missing_without_a_compiler(monkeypatch):
    from torchmoments.ops import compiled

    def fails():
        def call(*arguments):
            raise torch._inductor.exc.InvalidCxxCompiler

        return call

    monkeypatch.setattr(compiled, "_compiled", fails)
    with pytest.raises(RuntimeError, match=r"C\+\+ compiler.*Install one"):
        tm.exchange(features(2, 4, 2, 2), torch.tensor([1, 0]), backend="compiled")


def test_empty_batch_is_accepted():
    assert tm.exchange(torch.zeros(0, 4, 2, 2), torch.zeros(0, dtype=torch.int64)).shape == (0, 4, 2, 2)


X = torch.randn(4, 6, 2, 2)
P = torch.tensor([1, 0, 3, 2])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.exchange(X, P.int()), r"partner needs one int64 index.*\[4\]; got int32 \[4\].*mixer.draw"),
        (lambda: tm.exchange(X, P[:2]), r"got int64 \[2\]"),
        (lambda: tm.exchange(X, P, "bn"), "whole batch shares"),
        (lambda: tm.exchange(X, P, "bogus"), "norm needs one of pono.*got 'bogus'"),
        (lambda: tm.exchange(X, P, "gn0"), "norm needs one of"),
        (lambda: tm.exchange(X, P, "gn4"), "that 4 divides; got 6 channels"),
        (lambda: tm.exchange(X, P, (0, 1)), "without the batch axis"),
        (lambda: tm.exchange(X, P, (1, 1)), "distinct axes"),
        (lambda: tm.exchange(X, P, (7,)), "distinct axes"),
        (lambda: tm.exchange(X[:, :1], P), "two values or more.*over 1"),
        (lambda: tm.exchange(X[:, :, :1, :1], P, "in"), "two values or more"),
        (lambda: tm.exchange(X, P, grad="all"), "grad needs one of"),
        (lambda: tm.exchange(X, P, moment="variance"), "moment needs one of both, mean, std"),
        (lambda: tm.exchange(X, P, backend="fast"), "backend needs one of"),
        (lambda: tm.exchange(X.long(), P), "floating point.*int64"),
        (lambda: tm.exchange(X, P, channel_dim=0), "channel_dim needs an axis"),
        (lambda: tm.moments(torch.zeros(4)), r"\[B, C, \*positions\]"),
        (lambda: tm.exchange(X, P, mixed=P), "mixed needs one bool"),
        (
            lambda: tm.exchange(X, P, mask=X[:, 0] > 0, backend="triton"),
            'backend="triton" takes no mask. Use backend="a',
        ),
        (lambda: tm.exchange(X, P, mask=X > 0), r"mask needs True or 1 for each position.*shape \[4, 2, 2\]"),
        (lambda: tm.exchange(X, P, mask=X[:, 0]), r"mask needs True or 1.*got float32 \[4, 2, 2\]"),
        (lambda: tm.exchange(X, P, "gpono2", mask=torch.ones(4, 3, 2).bool()), r"got bool \[4, 3, 2\]"),
        (lambda: tm.exchange(X, P, mask=X[:, 0] > 0, backend="fast"), "backend needs one of"),
    ],
)
def test_wrong_input_is_told_what_to_write(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_an_empty_batch_has_empty_moments():
    x = torch.zeros(0, 3, 4, 4)
    assert [moment.shape for moment in tm.moments(x, "in")] == [torch.Size([0, 3, 1, 1])] * 2
    assert tm.normalize(x)[0].shape == tm.PONO()(x)[0].shape == tm.AdaIN()(x, x).shape == x.shape


@pytest.mark.parametrize("shape", [(4, 8, 4, 4), (4, 8, 64, 64)])
def test_the_own_weight_may_be_a_whole_number_and_gets_no_gradient(shape):
    x, partner = torch.randn(shape, requires_grad=True), torch.tensor([1, 2, 3, 0])
    torch.testing.assert_close(tm.exchange(x, partner, own_weight=1), x)
    assert tm.exchange(x, partner, own_weight=0).equal(tm.exchange(x, partner))
    weight = torch.rand(4, requires_grad=True)
    tm.exchange(x, partner, own_weight=weight).sum().backward()
    assert weight.grad is None
