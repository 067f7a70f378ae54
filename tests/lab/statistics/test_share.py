import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.several import difference
from torchmoments_lab.statistics.share import ratio


def drawn(gain, share=0.4, seeds=10, images=30, number=0):
    rng = np.random.default_rng(number)
    wholes = (
        gain + rng.standard_normal((seeds, 1)) + rng.standard_normal((1, images)) + rng.standard_normal((seeds, images))
    )
    return share * wholes + 0.3 * rng.standard_normal((seeds, images)) + 0.2 * rng.standard_normal((seeds, 1)), wholes


def test_one_number_a_seed_gives_fiellers_interval():
    parts, wholes = (values.mean(axis=1, keepdims=True) for values in drawn(-3.0))
    a, b = parts.mean(), wholes.mean()
    (aa, ab), (_, bb) = np.cov(parts[:, 0], wholes[:, 0]) / 10 * stats.t.ppf(0.975, 9) ** 2
    root = np.sqrt((a * b - ab) ** 2 - (b**2 - bb) * (a**2 - aa))
    found = ratio(parts, wholes)
    assert found.mean == pytest.approx(a / b)
    assert found.ci95 == pytest.approx(((a * b - ab - root) / (b**2 - bb), (a * b - ab + root) / (b**2 - bb)))


def test_the_interval_holds_the_shares_that_the_test_does_not_rule_out():
    parts, wholes = drawn(-3.0)
    found = ratio(parts, wholes)
    assert found.ci95 is not None
    assert found.mean is not None
    low, high = found.ci95
    assert low < found.mean < high
    for share in np.linspace(low - 0.3, high + 0.3, 61):
        p = difference(parts - share * wholes).p_value
        assert p is not None
        assert (p > 0.05) == (low < share < high)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e6])
def test_the_interval_does_not_depend_on_the_size_of_the_gain(scale):
    parts, wholes = drawn(-3.0)
    plain, scaled = ratio(parts, wholes), ratio(scale * parts, scale * wholes)
    assert scaled.mean == pytest.approx(plain.mean)
    assert scaled.ci95 == pytest.approx(plain.ci95)


def test_a_gain_that_may_be_0_bounds_no_share():
    parts, wholes = drawn(0.0)
    assert difference(wholes).outcome == "not shown"
    found = ratio(parts, wholes)
    assert found.mean is not None
    assert found.ci95 is None


def test_one_seed_no_spread_and_no_gain_give_no_interval():
    one = np.array([[1.0, 2.0]])
    assert ratio(one, 2 * one) == ratio(one, 2 * one).__class__(0.5, None, 1)
    parts, wholes = drawn(-3.0)
    assert ratio(0.5 * wholes, wholes).ci95 is None
    assert ratio(parts, 0 * wholes).mean is None
    assert ratio(np.empty((0, 0)), np.empty((0, 0))).mean is None


def test_the_interval_covers_the_share():
    covered = 0
    for number in range(400):
        found = ratio(*drawn(-1.5, number=number))
        covered += found.ci95 is None or found.ci95[0] <= 0.4 <= found.ci95[1]
    assert covered >= 0.93 * 400
