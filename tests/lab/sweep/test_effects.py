"""Effects and interactions, against an oracle that goes seed by seed and cell by cell."""

import itertools
import statistics

import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.sweep.effects import effects

AXES = {"lam": ("0.9", "1"), "norm": ("pono", "in", "ln"), "grad": ("both", "none")}


@pytest.fixture
def errors():
    """One number a run, as of a single image: [seeds, 1, values of each axis]."""
    return np.random.default_rng(0).normal(5, 1, size=(6, 1, 2, 3, 2))


def mean_where(of_seed, **fixed):
    """The mean error of one seed over all cells with these values."""
    chosen = []
    for places in itertools.product(*(range(len(values)) for values in AXES.values())):
        values = {name: AXES[name][place] for name, place in zip(AXES, places, strict=True)}
        if all(values[name] == value for name, value in fixed.items()):
            chosen.append(float(of_seed[0][places]))
    return statistics.fmean(chosen)


def t_interval(values):
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = stats.t.ppf(0.975, len(values) - 1) * spread / len(values) ** 0.5
    return mean, (mean - half, mean + half)


def test_a_main_effect_is_the_difference_of_means_over_all_other_axes(errors):
    found = {entry.axes: entry.effect for entry in effects(errors, AXES)}
    for axis in ("lam", "grad"):
        first, second = AXES[axis]
        contrasts = [mean_where(s, **{axis: second}) - mean_where(s, **{axis: first}) for s in errors]
        mean, ci95 = t_interval(contrasts)
        entry = found[(axis,)]
        assert entry.mean == pytest.approx(mean)
        assert entry.ci95 == pytest.approx(ci95)
        assert entry.n == 6
        assert entry.p_value == pytest.approx(stats.ttest_1samp(contrasts, 0).pvalue)


def test_an_interaction_is_the_change_of_one_effect_when_the_other_is_switched(errors):
    contrasts = []
    for of_seed in errors:
        late = mean_where(of_seed, lam="1", grad="none") - mean_where(of_seed, lam="0.9", grad="none")
        early = mean_where(of_seed, lam="1", grad="both") - mean_where(of_seed, lam="0.9", grad="both")
        contrasts.append(late - early)
    mean, ci95 = t_interval(contrasts)
    (entry,) = [entry for entry in effects(errors, AXES) if len(entry.axes) == 2]
    assert entry.axes == ("lam", "grad")
    assert entry.effect.mean == pytest.approx(mean)
    assert entry.effect.ci95 == pytest.approx(ci95)


def test_additive_axes_have_their_effects_and_no_interaction():
    seeds = np.random.default_rng(1).normal(5, 1, size=(5, 3, 1, 1))
    errors = seeds + np.array([0.0, -1.0])[:, None] + np.array([0.0, 0.25])
    found = effects(errors, {name: AXES[name] for name in ("lam", "grad")})
    assert [entry.effect.mean for entry in found] == pytest.approx([-1.0, 0.25, 0.0])


def test_axes_with_three_values_have_no_effect_of_their_own(errors):
    assert [entry.axes for entry in effects(errors, AXES)] == [("lam",), ("grad",), ("lam", "grad")]


def test_all_effects_are_judged_together(errors):
    for entry in effects(errors, AXES):
        contrast, (low, high) = entry.effect, entry.effect.ci95_adjusted
        assert contrast.p_adjusted == pytest.approx(1 - (1 - contrast.p_value) ** 3)
        # t at the level of one of three, 5 degrees of freedom.
        wider = stats.t.ppf(1 - (1 - 0.95 ** (1 / 3)) / 2, 5) / stats.t.ppf(0.975, 5)
        assert high - low == pytest.approx(wider * (contrast.ci95[1] - contrast.ci95[0]))


def test_images_are_a_sample_too():
    """Counted seed by seed and image by image."""
    scores = np.random.default_rng(2).normal(5, 1, size=(6, 4, 2, 3, 2)) + np.arange(4.0)[:, None, None, None] * [0, 1]
    (entry,) = [entry for entry in effects(scores, AXES) if entry.axes == ("grad",)]
    d = [
        [
            statistics.fmean(scores[s, i, a, b, 1] - scores[s, i, a, b, 0] for a in range(2) for b in range(3))
            for i in range(4)
        ]
        for s in range(6)
    ]
    of_seed = [statistics.fmean(row) for row in d]
    of_image = [statistics.fmean(column) for column in zip(*d, strict=True)]
    mean = statistics.fmean(of_seed)
    vs, vi = statistics.variance(of_seed) / 6, statistics.variance(of_image) / 4
    ve = sum((d[s][i] - of_seed[s] - of_image[i] + mean) ** 2 for s in range(6) for i in range(4)) / (5 * 3) / 24
    v = max(vs, vi, vs + vi - ve)
    half = stats.t.ppf(0.975, v**2 / (vs**2 / 5 + vi**2 / 3 + ve**2 / 15)) * v**0.5
    assert entry.effect.mean == pytest.approx(mean)
    assert entry.effect.ci95 == pytest.approx((mean - half, mean + half))


def test_effects_are_named_by_their_values(errors):
    assert [str(entry) for entry in effects(errors, AXES)] == ["lam: 0.9 → 1", "grad: both → none", "lam x grad"]
