"""PONO, the moment shortcut and AdaIN, against loops over single positions and channels."""

import pytest
import torch

import torchmoments as tm


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x.requires_grad_()


def mean_std(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = values.sum() / len(values)
    return mean, (((values - mean) ** 2).sum() / (len(values) - 1) + 1e-5).sqrt()


def value_and_gradients(y, *inputs):
    upstream = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    return y.detach(), *torch.autograd.grad((y * upstream).sum(), inputs)


def test_pono_normalizes_each_position_and_hands_out_its_moments():
    x = features(2, 5, 3, 4)
    normalized, mean, std = tm.PONO()(x)
    assert mean.shape == std.shape == (2, 1, 3, 4)
    expected = torch.empty_like(x).requires_grad_()
    rows = []
    for b in range(2):
        for h in range(3):
            for w in range(4):
                m, s = mean_std(x[b, :, h, w])
                torch.testing.assert_close(mean[b, 0, h, w], m)
                torch.testing.assert_close(std[b, 0, h, w], s)
                rows.append((x[b, :, h, w] - m) / s)
    expected = torch.stack(rows).reshape(2, 3, 4, 5).permute(0, 3, 1, 2)
    torch.testing.assert_close(value_and_gradients(normalized, x), value_and_gradients(expected, x))


def test_the_shortcut_undoes_pono_also_for_the_gradient():
    x = features(2, 5, 3, 4)
    back = tm.MomentShortcut()(*tm.PONO()(x))
    torch.testing.assert_close(value_and_gradients(back, x), value_and_gradients(x * 1, x))


def test_the_shortcut_takes_features_of_other_channels_and_writes_to_nothing():
    x, (_, mean, std) = features(2, 7, 3, 4), tm.PONO()(features(2, 5, 3, 4))
    before = x.clone()
    y = tm.MomentShortcut()(x, mean, std)
    torch.testing.assert_close(y, x * std + mean)
    assert torch.equal(x, before)


def test_affine_parameters_are_of_the_positions():
    layer = tm.PONO((3, 4)).double()
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (1, 1, 3, 4),
        "bias": (1, 1, 3, 4),
    }
    x = features(2, 5, 3, 4)
    plain = tm.PONO()(x)[0]
    assert torch.equal(layer(x)[0], plain)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    torch.testing.assert_close(layer(x)[0], plain * layer.weight + layer.bias)
    assert not list(tm.PONO().parameters())


def test_adain_gives_content_the_moments_of_style():
    content, style = features(2, 3, 4, 5), features(2, 3, 6, 2, seed=1)
    rows = []
    for b in range(2):
        for c in range(3):
            m, s = mean_std(content[b, c].flatten())
            new_m, new_s = mean_std(style[b, c].flatten())
            rows.append((content[b, c] - m) / s * new_s + new_m)
    expected = torch.stack(rows).reshape(content.shape)
    y = tm.AdaIN()(content, style)
    torch.testing.assert_close(
        value_and_gradients(y, content, style), value_and_gradients(expected, content, style), rtol=1e-9, atol=1e-9
    )
    one = tm.AdaIN()(content, style[:1])
    torch.testing.assert_close(one[0], y[0])


def test_half_types_are_kept():
    x = features(2, 5, 3, 4).detach().bfloat16()
    normalized, mean, std = tm.PONO()(x)
    assert (normalized.dtype, mean.dtype, std.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert tm.MomentShortcut()(normalized, mean, std).dtype == torch.bfloat16
    assert tm.AdaIN()(x, x).dtype == torch.bfloat16
    assert tm.PONO((3, 4))(x)[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tm.PONO((3, 3))(features(2, 5, 3, 4)), r"each of \[3, 3\] positions.*affine=\(3, 4\)"),
        (lambda: tm.PONO()(features(2, 1, 3, 4)), "two values or more"),
        (lambda: tm.PONO(norm="bn"), "nothing to exchange"),
        (lambda: tm.MomentShortcut()(features(2, 5, 6, 8), *tm.PONO()(features(2, 5, 3, 4))[1:]), "mean needs to"),
        (lambda: tm.AdaIN()(features(2, 5, 3, 4), features(2, 4, 3, 4)), "style needs the samples and channels"),
        (lambda: tm.AdaIN()(features(2, 5, 3, 4), features(2, 5, 12)), "style needs the samples and channels"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_what_to_write(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
