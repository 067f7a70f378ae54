"""The mean over data sets, against another program's figures, a slow search, and simulated data sets."""

import numpy as np
import pytest

from torchmoments_lab.statistics.pooled import pooled

Y, S = (-0.9, -1.1, 0.2, -0.4, -2.0), (0.3, 0.4, 0.25, 0.2, 0.8)


def test_it_agrees_with_statsmodels():
    """combine_effects(y, s**2, method_re="iterated", use_t=True) of statsmodels 0.14."""
    found = pooled(Y, S)
    assert found.tau**2 == pytest.approx(0.3909121285, rel=1e-6)
    assert found.mean == pytest.approx(-0.6703768882, rel=1e-6)
    assert found.ci95 == pytest.approx((-1.576401, 0.235647), abs=1e-6)


def test_tau_is_where_the_spread_is_as_large_as_it_should_be():
    y, s = np.array(Y), np.array(S)

    def excess(variance):
        w = 1 / (variance + s**2)
        return (w * (y - (w * y).sum() / w.sum()) ** 2).sum() - (len(y) - 1)

    grid = np.linspace(0, 3, 300_001)
    slow = grid[np.argmin([abs(excess(variance)) for variance in grid[::100]]) * 100]
    assert pooled(Y, S).tau ** 2 == pytest.approx(slow, abs=2e-3)


def test_data_sets_that_agree_have_no_spread_and_an_interval_no_narrower_than_their_own_errors_allow():
    found = pooled((-1.0, -1.0, -1.0, -1.0), (0.5,) * 4)
    assert found.tau == 0
    # t(0.975, 3) = 3.182, and 0.5 / sqrt(4).
    assert found.ci95 == pytest.approx((-1 - 3.182 * 0.25, -1 + 3.182 * 0.25), abs=1e-3)


def test_its_interval_holds_the_mean_of_all_data_sets_19_times_of_20():
    random = np.random.default_rng(0)
    held, rounds = 0, 2000
    for _ in range(rounds):
        s = random.uniform(0.1, 0.6, 6)
        y = -0.5 + 0.4 * random.standard_normal(6) + s * random.standard_normal(6)
        found = pooled(y, s)
        held += found.ci95[0] < -0.5 < found.ci95[1]
    assert 0.93 < held / rounds < 0.98


@pytest.mark.parametrize(("y", "s"), [((1.0, 2.0), (1.0, 1.0)), ((1.0, 2.0, 3.0), (1.0, 0.0, 1.0))])
def test_too_few_data_sets_or_none_that_vary_are_refused(y, s):
    with pytest.raises(ValueError, match="three or more"):
        pooled(y, s)
