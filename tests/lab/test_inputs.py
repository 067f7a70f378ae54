"""MixUp and CutMix of a batch: what is mixed, how often, and where chance comes from."""

import pytest
import torch

from torchmoments_lab.inputs import InputMixing, LabelSmoothing, partner_of_the_images
from torchmoments_lab.random_numbers import input_stream

pytest.importorskip("torchvision")

X = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_weighs_images_and_labels_alike(seed):
    x, soft = InputMixing("mixup")(X, Y, 8, generator(seed))
    weight = soft.diagonal().reshape(-1, 1, 1, 1)
    other = torch.where(torch.eye(8, dtype=torch.bool), -1, soft).argmax(1)
    torch.testing.assert_close(soft.sum(1), torch.ones(8))
    torch.testing.assert_close(x, weight * X + (1 - weight) * X[other])


def test_mixup_takes_any_shape():
    x, soft = InputMixing("mixup")(X, Y, 8, generator())
    for shape in ([8, 64], [8, 2, 32], [8, 1, 4, 4, 4]):
        other, same = InputMixing("mixup")(X.reshape(shape), Y, 8, generator())
        assert torch.equal(other, x.reshape(shape))
        assert torch.equal(same, soft)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_labels_weigh_the_area_of_the_box(seed):
    x, soft = InputMixing("cutmix")(X, Y, 8, generator(seed))
    kept = (x == X).float().mean((1, 2, 3))
    torch.testing.assert_close(soft.diagonal(), kept)
    torch.testing.assert_close(soft.sum(1), torch.ones(8))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_chance_comes_from_the_given_generator_alone(kind):
    state, mixing = torch.get_rng_state(), InputMixing(kind)
    first, again = mixing(X, Y, 8, generator(1)), mixing(X, Y, 8, generator(1))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))
    assert not torch.equal(first[0], mixing(X, Y, 8, generator(2))[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_realised_rate_is_p_and_another_p_leaves_the_strength():
    often, seldom = generator(), generator()
    mixed = 0
    for _ in range(400):
        _, always = InputMixing("mixup")(X, Y, 8, often)
        _, soft = InputMixing("mixup", p=0.3)(X, Y, 8, seldom)
        if soft is not Y:
            mixed += 1
            assert torch.equal(soft, always)
    assert abs(mixed / 400 - 0.3) < 4 * (0.3 * 0.7 / 400) ** 0.5


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_strengths_are_beta_distributed(alpha):
    stats = pytest.importorskip("scipy.stats")
    g = generator()
    kept = [float(InputMixing("mixup", alpha=alpha)(X[:2], Y[:2], 2, g)[1][0, 0]) for _ in range(500)]
    assert stats.kstest(kept, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_pixels_and_the_labels_come_from_the_partner_of_the_images(kind):
    """torchvision does not promise whom it pairs."""
    images = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 1, 8, 8)
    partner = partner_of_the_images(8, None, generator())
    mixed = 0
    for seed in range(10):
        x, soft = InputMixing(kind)(images, Y, 8, generator(seed))
        kept = float(soft[0, 0])
        mixed += kept < 1
        for b in range(8):
            other = float(partner[b])
            expected = torch.zeros(8)
            expected[b] += kept
            expected[int(other)] += 1 - kept
            torch.testing.assert_close(soft[b], expected)
            pixels = x[b].flatten()
            if kind == "mixup":
                torch.testing.assert_close(pixels, torch.full((64,), kept * b + (1 - kept) * other))
            else:
                assert set(pixels.tolist()) <= {float(b), other}
    assert mixed > 5


def test_the_stream_of_a_run_is_its_own():
    first = [torch.randint(2**62, (), generator=input_stream(seed)).item() for seed in range(20)]
    assert len(set(first)) == 20
    assert first[0] != torch.randint(2**62, (), generator=input_stream(0, rank=1)).item()
    assert not set(first) & {torch.randint(2**62, (), generator=generator(seed)).item() for seed in range(20)}


def test_smoothed_labels_give_the_loss_of_cross_entropy_with_label_smoothing():
    x, soft = LabelSmoothing(0.3)(X, Y % 4, 4, generator())
    logits = torch.randn(8, 4, generator=generator(1))
    assert x is X
    loss = torch.nn.functional.cross_entropy(logits, soft)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, Y % 4, label_smoothing=0.3))


def test_smoothing_draws_nothing():
    source = generator()
    before = source.get_state()
    LabelSmoothing()(X, Y, 8, source)
    assert torch.equal(source.get_state(), before)


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match="amount needs a number from 0 to 1"):
        LabelSmoothing(1.5)
