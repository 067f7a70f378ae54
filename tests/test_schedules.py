"""How a mixer changes over a run, and what it leaves as it is."""

import dataclasses
import pickle

import pytest
import torch
from torch import nn

import torchmoments as tm


def site(mixer, schedule=None, **options):
    torch.manual_seed(0)
    return tm.attach(nn.Sequential(nn.Conv2d(1, 4, 3)), mixer, at="0", seed=0, schedule=schedule, **options)


def rate(one, progress: float, number: int = 800) -> float:
    one.progress = progress
    return sum(one.draw(4) is not None for _ in range(number)) / number


@pytest.mark.parametrize(
    ("schedule", "progress", "p"),
    [
        (tm.WarmUp(0.2), 0.0, 0.0),
        (tm.WarmUp(0.2), 0.1, 0.3),
        (tm.WarmUp(0.2), 0.2, 0.6),
        (tm.WarmUp(0.2), 1.0, 0.6),
        (tm.WarmUp(0), 0.0, 0.6),
        (tm.OffAtEnd(0.25), 0.0, 0.6),
        (tm.OffAtEnd(0.25), 0.74, 0.6),
        (tm.OffAtEnd(0.25), 0.75, 0.0),
        (tm.OffAtEnd(0.25), 1.0, 0.0),
    ],
)
def test_the_rate_follows_the_schedule(schedule, progress, p):
    assert abs(rate(site(tm.MixStyle(p=0.6), schedule), progress) - p) <= 4 * (p * (1 - p) / 800) ** 0.5


def test_last_epochs_counted_as_fractions_are_off():
    for epochs in range(10, 101, 10):
        off = [tm.OffAtEnd(0.1)(tm.MoEx(), epoch / epochs).p == 0 for epoch in range(epochs)]
        assert off == [epoch >= epochs - epochs // 10 for epoch in range(epochs)]


def test_a_schedule_of_p_mixes_some_of_the_batches_of_the_mixer_alone_with_the_same_partners():
    plain, scheduled = site(tm.MixStyle(p=0.8)), site(tm.MixStyle(p=0.8), tm.WarmUp(1.0))
    mixed = 0
    for step in range(100):
        scheduled.progress = step / 100
        all_of_them, some = plain.draw(8), scheduled.draw(8)
        if some is not None:
            mixed += 1
            assert torch.equal(some.draws["0"].partner, all_of_them.draws["0"].partner)
            assert torch.equal(some.draws["0"].moment_weight, all_of_them.draws["0"].moment_weight)
    assert 20 < mixed < 60


def test_a_function_may_change_the_strength():
    def softer(mixer, progress):
        return dataclasses.replace(mixer, lam=1 - 0.4 * progress)

    one = site(tm.MoEx(p=1, lam=0.5), softer)
    for progress, lam in ((0.0, 1.0), (0.5, 0.8), (1, 0.6)):
        one.progress = progress
        assert one.draw(4).draws["0"].label_weight == pytest.approx(lam)


def test_schedules_can_be_pickled_with_their_site_and_evaluate_back():
    for schedule in (tm.WarmUp(0.3), tm.OffAtEnd(0.2)):
        assert eval(repr(schedule), vars(tm)) == schedule
        one = site(tm.MoEx(p=1), schedule)
        one.progress = 0.5
        again = pickle.loads(pickle.dumps(one))
        assert vars(again)["_planner"].schedule == schedule
        assert again.progress == 0.5


def test_a_schedule_that_is_never_told_the_progress_is_an_error():
    with pytest.raises(RuntimeError, match=r"site.progress was never set.*epoch / epochs"):
        site(tm.MoEx(), tm.WarmUp()).draw(4)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (lambda mixer, progress: dataclasses.replace(mixer, norm="in", p=0.1), "it changed norm"),
        (lambda mixer, progress: tm.MixStyle(), "return a MoEx again; got a MixStyle"),
        (lambda mixer, progress: None, "return a MoEx again; got a NoneType"),
    ],
)
def test_a_schedule_that_changes_more_than_the_draws_is_an_error(schedule, sentence):
    one = site(tm.MoEx(), schedule)
    one.progress = 0.5
    with pytest.raises(ValueError, match=sentence):
        one.draw(4)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "half"])
def test_wrong_progress_is_told_what_to_write(value):
    with pytest.raises(ValueError, match="progress needs a number from 0 to 1"):
        site(tm.MoEx()).progress = value
    with pytest.raises(ValueError, match="part needs a number from 0 to 1"):
        tm.OffAtEnd(value)


def test_labels_that_a_schedule_begins_to_mix_are_mixed_at_one_place():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    half = lambda mixer, progress: dataclasses.replace(mixer, lam=0.5)  # noqa: E731
    later = tm.attach(model, tm.MoEx(p=1, lam=1.0), at=["0", "1"], schedule=half)
    later.progress = 0.5
    assert len(later.draw(4).terms) == 2
