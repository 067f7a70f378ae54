"""Pairing: everything but the method is the same for the runs of one seed."""

import numpy as np
import pytest
import torch

import torchmoments as tm
from tests.lab.experiments import experiment
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare
from torchmoments_lab.training import train as training
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.schedule import batches, steps_an_epoch

# They train.
pytestmark = pytest.mark.slow

TINY = Compare().with_values(train_size=50, epochs=2, batch_size=16, width=4, lr=0.1)


@pytest.fixture(scope="module")
def digits():
    return experiment(TINY).data


def run(word, seed, data, config=TINY, **more):
    return training.train(experiment(config, data=data, **more), parse_method(word), seed)


def watch(monkeypatch):
    """What each run sees: initial weights, images and labels of all steps."""
    seen = []

    class Watched(training.Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            weights = torch.cat([parameter.detach().flatten() for parameter in self.module.parameters()])
            seen.append((weights, [], []))

    step = training.step

    def watched_step(model, criterion, site, x, y, *more):
        seen[-1][1].append(x.clone())
        seen[-1][2].append(y.clone())
        return step(model, criterion, site, x, y, *more)

    monkeypatch.setattr(training, "Training", Watched)
    monkeypatch.setattr(training, "step", watched_step)
    return lambda: [(weights, torch.cat(images), torch.cat(labels)) for weights, images, labels in seen]


@pytest.mark.parametrize("word", ["moex", "cutmix+mixstyle"])
def test_the_first_seed_is_added_to_every_seed(digits, word):
    of_seed = run(word, 107, digits)
    fresh = run(word, 7, digits, TINY.with_values(first_seed=100))
    assert np.array_equal(fresh.scores, of_seed.scores)
    assert not np.array_equal(fresh.scores, run(word, 7, digits).scores)


@pytest.mark.parametrize("augment", [False, True])
def test_methods_of_a_seed_share_initial_weights_and_augmented_batches(digits, monkeypatch, augment):
    seen = watch(monkeypatch)
    for word in ("none", "labels", "moex", "mixstyle", "padain:p=0.5"):
        run(word, 7, digits, TINY.with_values(augment=augment))
    first, *others = seen()
    assert len(first[1]) == 100
    for other in others:
        assert all(mine.equal(theirs) for mine, theirs in zip(first, other, strict=True))


def test_another_seed_has_other_weights_images_and_batches(digits, monkeypatch):
    seen = watch(monkeypatch)
    run("none", 7, digits)
    run("none", 8, digits)
    weights, images, labels = (mine.equal(theirs) for mine, theirs in zip(*seen(), strict=True))
    assert not weights
    assert not images
    assert not labels


def test_epochs_are_in_another_order_and_augmented_anew(digits, monkeypatch):
    seen = watch(monkeypatch)
    run("none", 7, digits)
    run("none", 7, digits, TINY.with_values(augment=True))
    (_, plain, labels), (_, augmented, same_labels) = seen()
    assert labels.equal(same_labels)
    assert not labels[:50].equal(labels[50:])
    shown = {image.numpy().tobytes() for image in plain}
    assert len(shown) == 50
    assert len({image.numpy().tobytes() for image in augmented}) > 90


@pytest.mark.parametrize("word", ["moex:p=0", "labels:p=0", "dsu:p=0", "cutmix:p=0", "mixup:p=0+padain:p=0"])
def test_a_method_that_never_mixes_gives_the_plain_run_bit_for_bit(digits, word):
    plain, idle = run("none", 1, digits), run(word, 1, digits)
    assert idle.epochs == plain.epochs
    assert np.array_equal(idle.scores, plain.scores)


def test_every_method_changes_the_run_in_its_own_way(digits):
    words = ["none", "labels:p=1", "moex:p=1", "mixstyle:p=1", "efdmix:p=1", "dsu:p=1", "crossnorm:p=1", "padain:p=1"]
    words += ["mixup", "cutmix", "cutmix+moex:p=1", "mixup+moex:p=1", "moex:p=1,partner=other-group"]
    losses = {word: run(word, 1, digits).epochs[-1].loss for word in words}
    assert len(set(losses.values())) == len(words)


def test_input_mixing_leaves_the_draws_of_the_features_as_they_are(digits, monkeypatch):
    partners = []
    draw = tm.MoEx.draw
    monkeypatch.setattr(tm.MoEx, "draw", lambda *a, **k: partners.append(draw(*a, **k)) or partners[-1])
    run("moex:p=1", 5, digits)
    alone, partners[:] = list(partners), []
    run("cutmix+moex:p=1", 5, digits)
    assert len(alone) == len(partners) == 8
    assert all(mine.partner.equal(theirs.partner) for mine, theirs in zip(alone, partners, strict=True))


def test_partners_of_another_class_are_of_another_class(digits, monkeypatch):
    seen = []
    draw = tm.MoEx.draw

    def watched(*arguments, groups, **options):
        seen.append((groups, draw(*arguments, groups=groups, **options)))
        return seen[-1][1]

    monkeypatch.setattr(tm.MoEx, "draw", watched)
    run("cutmix+moex:p=1,partner=other-group", 5, digits)
    assert len(seen) == 8
    for labels, drawn in seen:
        assert labels.dtype == torch.int64
        assert (labels[drawn.partner] != labels).all()


def test_the_same_run_twice_is_bit_identical_and_leaves_the_callers_random_numbers(digits):
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first, again = run("moex", 2, digits), run("moex", 2, digits)
    assert first.epochs == again.epochs
    assert torch.get_rng_state().equal(before)
    assert torch.get_num_threads() == threads


def test_runs_of_a_seed_are_paired_whatever_the_model_draws(digits):
    class Noisy(torch.nn.Module):
        def forward(self, x):
            # In eval mode too, so that looking for a method's places draws.
            return x + torch.rand_like(x)

    def make_model(num_classes):
        torch.rand(int(torch.randint(9, ())))
        torch.manual_seed(0)
        stem, fc = torch.nn.BatchNorm2d(1), torch.nn.Linear(64, num_classes)
        torch.nn.init.constant_(fc.weight, float(np.random.rand()))
        return torch.nn.Sequential(stem, Noisy(), torch.nn.Flatten(), torch.nn.Dropout(0.5), fc)

    plain = run("none", 4, digits, make_model=make_model)
    for word in ("moex:p=0,norm=in,at=0", "labels:p=0"):
        np.random.seed(9)
        assert run(word, 4, digits, make_model=make_model).epochs == plain.epochs


def test_dropout_is_the_same_with_and_without_a_method(digits):
    masks = []

    def make_model(num_classes):
        dropout = torch.nn.Dropout(0.5)
        dropout.register_forward_hook(lambda module, args, out: masks.append(out == 0) if module.training else None)
        fc = torch.nn.Linear(64, num_classes)
        # Ones, so that the zeros are the mask and nothing else.
        dropout.register_forward_pre_hook(lambda module, args: (torch.ones_like(args[0]),))
        stem = torch.nn.BatchNorm2d(1)
        return torch.nn.Sequential(stem, torch.nn.Flatten(), dropout, fc)

    run("none", 4, digits, make_model=make_model)
    plain, masks[:] = list(masks), []
    for word in ("moex:p=1,norm=in,at=0", "cutmix", "mixup+dsu:p=1,at=0"):
        masks.clear()
        run(word, 4, digits, make_model=make_model)
        assert len(plain) == len(masks) == 8
        assert all(mine.equal(theirs) for mine, theirs in zip(plain, masks, strict=True))


def test_a_resumed_run_has_the_same_input_mixing(digits, tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.pt", {})
    config = TINY.with_values(epochs=3)
    whole = run("cutmix:p=0.7+moex", 6, digits, config)
    fabric = make_fabric(config.training)
    with own_random_numbers(fabric.device, 1):
        first, second = (
            training.Training(experiment(config), parse_method("cutmix:p=0.7+moex"), 6, fabric) for _ in range(2)
        )
        first.run_epoch()
        first.save(checkpoint)
        second.load(checkpoint)
        second.run_epoch()
        second.run_epoch()
    assert second.epochs == whole.epochs


def test_compiled_after_attaching_the_method_is_still_there(digits, monkeypatch):
    compile_ = torch.compile
    monkeypatch.setattr(training.torch, "compile", lambda module, **_: compile_(module, backend="eager"))
    plain, compiled = (run("moex:p=1", 1, digits, TINY.with_values(compile=on)) for on in (False, True))
    assert [epoch.loss for epoch in compiled.epochs] == pytest.approx([epoch.loss for epoch in plain.epochs])


def test_mixed_precision_runs_the_network_in_16_bits(digits):
    seen = set()

    def make_model(num_classes):
        layer = torch.nn.Linear(64, num_classes)
        layer.register_forward_hook(lambda module, given, out: seen.add(out.dtype))
        return torch.nn.Sequential(torch.nn.Flatten(), layer)

    result = run("none", 0, digits, TINY.with_values(precision="bf16-mixed"), make_model=make_model)
    assert seen == {torch.bfloat16}
    assert result.scores.dtype == np.float32


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.1] * 8),
        ("step", [0.1] * 4 + [0.01] * 2 + [0.001] * 2),
        ("cosine", [0.05 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(8)]),
    ],
)
def test_learning_rates_of_the_schedules(digits, schedule, rates):
    result = run("none", 0, digits, TINY.with_values(epochs=8, schedule=schedule))
    assert [epoch.lr for epoch in result.epochs] == pytest.approx(rates)


def test_site_is_seeded_by_the_run(digits, monkeypatch):
    seeds = []
    attach = tm.attach
    monkeypatch.setattr(
        training.tm, "attach", lambda *a, **k: seeds.append(k["seed"]) or attach(*a, **k), raising=False
    )
    run("moex", 11, digits)
    run("labels", 11, digits)
    assert seeds == [11, 11]


def test_all_runs_mix_at_the_place_that_was_found_once(digits):
    with own_random_numbers(torch.device("cpu"), 1):
        found = experiment(TINY, data=digits, place="layer1")
        site = training.Training(found, parse_method("moex"), 0, make_fabric(TINY.training)).site
    assert site.places == ("layer1",)


def test_every_image_is_used_once_an_epoch():
    for size in (2, 9, 10, 11, 33):
        split = batches(size, 8, torch.Generator().manual_seed(0))
        assert torch.cat(split).sort().values.equal(torch.arange(size))


@pytest.mark.parametrize("size", [1, 2, 49, 50, 51, 52, 99, 100, 101, 149])
@pytest.mark.parametrize("at_least", [2, 4])
def test_the_steps_of_an_epoch_are_its_batches(size, at_least):
    made = batches(size, 50, torch.Generator(), at_least)
    assert steps_an_epoch(size, 50, at_least) == len(made)
    assert len(made) == 1 or min(map(len, made)) >= at_least


def test_one_image_left_alone_joins_the_batch_before_it(digits):
    assert [len(index) for index in batches(17, 8, torch.Generator())] == [8, 9]
    run("moex:p=1", 0, digits, Compare().with_values(train_size=17, epochs=1, batch_size=8, width=4, lr=0.1))


def test_a_loss_that_is_not_finite_says_its_step_and_epoch(digits):
    with pytest.raises(FloatingPointError, match=r"at step \d+ \(epoch \d+ of 30\)"):
        run("none", 0, digits, Compare().with_values(train_size=50, epochs=30, batch_size=16, width=4, lr=1e30))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]),
        ("step", [0.1, 0.2, 0.3, 0.3, 0.03, 0.03, 0.003, 0.003]),
        ("cosine", [0.1, 0.2, *(0.15 * (1 + np.cos(np.pi * k / 6)) for k in range(6))]),
    ],
)
def test_the_learning_rate_grows_in_equal_steps_to_where_the_schedule_has_it(digits, schedule, expected):
    config = TINY.with_values(epochs=8, lr=0.3, schedule=schedule, warmup_epochs=2, train_size=20)
    assert [epoch.lr for epoch in run("none", 0, digits, config).epochs] == pytest.approx(expected)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(ValueError, match="warmup_epochs needs fewer than the 2 epochs; got 2"):
        TINY.with_values(warmup_epochs=2).check()
