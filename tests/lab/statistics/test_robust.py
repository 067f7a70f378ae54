import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.robust import collapsed, trimmed


def test_a_seed_that_is_far_above_the_others_collapsed():
    assert collapsed({0: 5.0, 1: 5.5, 2: 60.0, 3: 4.5, 4: 5.2}) == (2,)
    assert collapsed(dict(enumerate([5.0, 5.5, 60.0, 4.5, 90.0, 5.1, 5.3]))) == (2, 4)


@pytest.mark.parametrize(
    "errors",
    [
        {},
        {0: 5.0, 1: 90.0},
        # No collapse is a run that is good, or within 5 points, or where all differ as much.
        dict(enumerate([50.0, 51.0, 49.0, 2.0])),
        dict(enumerate([5.0, 5.0, 5.0, 9.9])),
        dict(enumerate([10.0, 20.0, 30.0, 40.0, 50.0])),
    ],
)
def test_other_seeds_did_not_collapse(errors):
    assert collapsed(errors) == ()


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_hardly_ever_does_a_seed_of_normal_ones_count_as_collapsed(seeds):
    rng = np.random.default_rng(0)
    assert sum(bool(collapsed(dict(enumerate(20 + 5 * rng.standard_normal(seeds))))) for _ in range(1000)) <= 30


def test_one_number_a_seed_gives_the_interval_of_tukey_and_mclaughlin():
    values = np.random.default_rng(0).standard_normal(12)
    values[3] = 50
    found = trimmed(values[:, None])
    low, high = stats.mstats.trimmed_mean_ci(values, limits=(0.2, 0.2), inclusive=(True, True))
    assert found.mean == pytest.approx(stats.trim_mean(values, 0.2))
    assert found.ci95 == pytest.approx((low, high))
    assert found.n == 12


def test_four_seeds_have_no_robust_interval():
    assert trimmed(np.array([[1.0], [2.0], [3.0], [4.0]])).ci95 is None


def test_a_collapsed_seed_spoils_the_mean_and_not_the_trimmed_mean():
    rng = np.random.default_rng(0)
    scores = -1 + rng.standard_normal((20, 1)) + rng.standard_normal((20, 50))
    before = trimmed(scores)
    scores[7] += 60
    after = trimmed(scores)
    assert scores.mean() > 1.5
    assert before.mean is not None
    assert after.mean == pytest.approx(before.mean, abs=0.3)
    assert after.ci95 is not None
    assert after.ci95[1] < 0
