"""The statistics against the formulas worked by hand, one number at a time."""

import math
import warnings

import numpy as np
import pytest

from torchmoments_lab.statistics import (
    Difference,
    difference,
    estimate,
    holm,
    interval_with_images,
    paired,
    ratio,
    with_holm,
)

# t(0.975, df), from a printed table.
T_975 = {3: 3.182446, 4: 2.776445}


def slow_variance(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def slow_p(t: float, df: int) -> float:
    """Two-sided p by summing the density of Student's t in small steps."""
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    step = 1e-4
    inside = sum(scale * (1 + (k * step) ** 2 / df) ** (-(df + 1) / 2) * step for k in range(int(abs(t) / step)))
    return 1 - 2 * inside


def test_interval_and_p_are_those_of_the_t_test_by_hand():
    values = [-0.9, -1.4, 0.3, -0.6, -1.1]
    got = difference(values)
    standard_error = math.sqrt(slow_variance(values) / 5)
    mean = sum(values) / 5
    assert got.n == 5
    assert got.mean == pytest.approx(mean)
    assert got.ci95 == pytest.approx((mean - T_975[4] * standard_error, mean + T_975[4] * standard_error), rel=1e-5)
    assert got.p_value == pytest.approx(slow_p(mean / standard_error, 4), abs=1e-3)


def test_interval_with_images_adds_the_variance_of_the_images():
    rng = np.random.default_rng(0)
    differences = 100.0 * rng.integers(-1, 2, size=(4, 30))
    of_seeds = [sum(row) / 30 for row in differences.tolist()]
    of_images = [sum(column) / 4 for column in differences.T.tolist()]
    standard_error = math.sqrt(slow_variance(of_seeds) / 4 + slow_variance(of_images) / 30)
    mean = sum(of_seeds) / 4
    want = (mean - T_975[3] * standard_error, mean + T_975[3] * standard_error)
    assert interval_with_images(differences) == pytest.approx(want, rel=1e-5)


def test_one_seed_has_a_mean_and_nothing_else():
    assert difference([1.5]) == Difference(1.5, None, 1, None)
    assert (estimate([1.5]).mean, estimate([1.5]).ci95) == (1.5, None)
    assert interval_with_images(np.zeros((1, 10))) is None


@pytest.mark.parametrize("value", [0.0, -0.1, 100 / 360])
def test_equal_differences_have_no_interval_and_give_no_warning(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = difference([value, value + 1e-14, value])
        assert interval_with_images(np.full((3, 5), value)) is None
    assert got.mean == pytest.approx(value)
    assert got.ci95 is None
    assert got.p_value is None


def test_no_seed_at_all_is_undefined():
    assert estimate([]).mean is None
    assert difference([]) == Difference(None, None, 0, None)


def test_methods_are_compared_on_the_seeds_that_both_have():
    assert paired({0: 1.0, 1: 2.0, 3: 5.0}, {1: 4.0, 2: 9.0, 3: 6.0}).mean == -1.5


def test_holm_gives_the_published_values():
    # The worked example of R's p.adjust(method = "holm").
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_holm_keeps_the_order_and_stays_below_one():
    assert holm([0.6, 0.001, 0.5]) == pytest.approx([1.0, 0.003, 1.0])


def test_holm_does_not_count_what_is_undefined():
    assert holm([None, 0.01, 0.04]) == [None, pytest.approx(0.02), pytest.approx(0.04)]


def test_differences_get_the_p_that_counts_all_of_them():
    ps = [0.02, None, 0.04]
    adjusted = with_holm([Difference(-1.0, (-2.0, 0.0), 5, p) for p in ps])
    assert [one.p_holm for one in adjusted] == [pytest.approx(0.04), None, pytest.approx(0.04)]
    assert [one.p_value for one in adjusted] == ps


@pytest.mark.parametrize(
    ("mean", "p_holm", "outcome"),
    [(-1.0, 0.04, "gain"), (1.0, 0.04, "harm"), (-1.0, 0.05, "not shown"), (-1.0, None, "unknown")],
)
def test_the_adjusted_p_decides_the_outcome(mean, p_holm, outcome):
    assert Difference(mean, (-2.0, 2.0), 5, 0.001, p_holm).outcome == outcome


def test_a_ratio_has_the_values_in_its_interval_that_the_t_test_does_not_reject():
    random = np.random.default_rng(0)
    wholes = random.normal(-1, 0.5, 12)
    parts = 0.6 * wholes + random.normal(0, 0.3, 12)
    found = ratio(parts, wholes)
    low, high = found.ci95
    assert found.mean == pytest.approx(parts.mean() / wholes.mean())
    for end in (low, high):
        assert difference(parts - end * wholes).p_value == pytest.approx(0.05)
    assert low < found.mean < high


def test_a_ratio_covers_the_true_one_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        wholes = random.normal(-1, 0.8, 10)
        ci95 = ratio(0.4 * wholes + random.normal(0, 0.8, 10), wholes).ci95
        covered += ci95 is None or ci95[0] <= 0.4 <= ci95[1]
    assert 0.935 < covered / 2000 < 0.965


@pytest.mark.parametrize("wholes", [[1.0, -1.0, 0.5, -0.5], [1.0, -1.1, 0.2, 0.1], [1.0], [], [1.0, 1.0]])
def test_a_ratio_to_what_may_be_nothing_has_no_interval(wholes):
    assert ratio([0.5] * len(wholes), wholes).ci95 is None
