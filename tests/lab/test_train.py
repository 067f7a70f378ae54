"""Pairing: everything but the method is the same for the runs of one seed."""

import numpy as np
import pytest
import torch

import torchmoments as tm
from torchmoments.lab import train as training
from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data import load
from torchmoments.lab.methods import parse_method

TINY = TrainConfig(train_size=50, epochs=2, batch_size=16, width=4)


@pytest.fixture(scope="module")
def digits():
    return load(TrainConfig())


def run(word, seed, data, config=TINY):
    return training.train(config, parse_method(word), seed, data)


def watch(monkeypatch):
    """What each run sees: (subset, initial weights, batches)."""
    seen = []
    fit = training._fit

    def spy(config, method, seed, model, data, pool, order):
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        order_now = torch.Generator()
        order_now.set_state(order.get_state())
        epochs = [training.batches(len(pool), config.batch_size, order_now) for _ in range(config.epochs)]
        seen.append(
            (pool.images, pool.labels, weights.clone(), torch.cat([index for epoch in epochs for index in epoch]))
        )
        result = fit(config, method, seed, model, data, pool, order)
        # The streams ran exactly as far as the batches need: nothing else drew from them.
        assert order.get_state().equal(order_now.get_state())
        return result

    monkeypatch.setattr(training, "_fit", spy)
    return seen


def test_methods_of_a_seed_share_images_initial_weights_and_batches(digits, monkeypatch):
    seen = watch(monkeypatch)
    for word in ("none", "labels", "moex"):
        run(word, 7, digits)
    for other in seen[1:]:
        assert all(mine.equal(theirs) for mine, theirs in zip(seen[0], other, strict=True))


def test_another_seed_has_other_images_weights_and_batches(digits, monkeypatch):
    seen = watch(monkeypatch)
    run("none", 7, digits)
    run("none", 8, digits)
    images, _, weights, order = (mine.equal(theirs) for mine, theirs in zip(*seen, strict=True))
    assert not images
    assert not weights
    assert not order


@pytest.mark.parametrize("word", ["moex:p=0", "labels:p=0"])
def test_a_method_that_never_mixes_gives_the_plain_run_bit_for_bit(digits, word):
    plain, idle = run("none", 1, digits), run(word, 1, digits)
    assert idle.epochs == plain.epochs
    assert np.array_equal(idle.predicted, plain.predicted)


def test_moex_and_labels_change_the_run(digits):
    losses = {word: run(word, 1, digits).epochs[-1]["loss"] for word in ("none", "labels:p=1", "moex:p=1")}
    assert len(set(losses.values())) == 3


def test_the_same_run_twice_is_bit_identical_and_leaves_the_callers_random_numbers(digits):
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first, again = run("moex", 2, digits), run("moex", 2, digits)
    assert first.epochs == again.epochs
    assert torch.get_rng_state().equal(before)
    assert torch.get_num_threads() == threads


def test_dropout_is_the_same_with_and_without_a_method(digits, monkeypatch):
    masks = []
    build = training.build_model

    def with_dropout(config, data):
        model = build(config, data)
        dropout = torch.nn.Dropout(0.5)
        dropout.register_forward_hook(lambda module, args, out: masks.append(out == 0) if module.training else None)
        model.fc = torch.nn.Sequential(dropout, model.fc)
        # Ones, so that the zeros are the mask and nothing else.
        model.fc.register_forward_pre_hook(lambda module, args: (torch.ones_like(args[0]),))
        return model

    monkeypatch.setattr(training, "build_model", with_dropout)
    run("none", 4, digits)
    plain, masks[:] = list(masks), []
    run("moex:p=1", 4, digits)
    assert len(plain) == len(masks) == 8
    assert all(mine.equal(theirs) for mine, theirs in zip(plain, masks, strict=True))


def test_site_is_seeded_by_the_run(digits, monkeypatch):
    seeds = []
    attach = tm.attach
    monkeypatch.setattr(
        training.tm, "attach", lambda *a, **k: seeds.append(k["seed"]) or attach(*a, **k), raising=False
    )
    run("moex", 11, digits)
    run("labels", 11, digits)
    assert seeds == [11, 11]


def test_every_image_is_used_once_an_epoch():
    for size in (2, 9, 10, 11, 33):
        split = training.batches(size, 8, torch.Generator().manual_seed(0))
        assert torch.cat(split).sort().values.equal(torch.arange(size))


def test_one_image_left_alone_joins_the_batch_before_it(digits):
    assert [len(index) for index in training.batches(17, 8, torch.Generator())] == [8, 9]
    run("moex:p=1", 0, digits, TrainConfig(train_size=17, epochs=1, batch_size=8, width=4))


def test_a_loss_that_is_not_finite_says_its_step_and_epoch(digits):
    with pytest.raises(FloatingPointError, match=r"at step \d+ \(epoch \d+ of 30\)"):
        run("none", 0, digits, TrainConfig(train_size=50, epochs=30, batch_size=16, width=4, lr=1e30))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("moex:at=layer5", "layer"),
        ("moex:norm=gn7,at=stem/layer1", "7"),
        ("moex:norm=in,at=stem/fc", "fc"),
        ("labels:at=nowhere", "nowhere"),
    ],
)
def test_a_method_that_does_not_fit_the_model_is_refused_before_training(digits, word, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        training.check_method(TINY, parse_method(word), digits)
    assert word in str(caught.value)
    training.check_method(TINY, parse_method("moex:at=stem/layer1"), digits)
