import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.crossed import estimate, over_seeds, spread
from torchmoments_lab.statistics.looks import ANYTIME, Planned
from torchmoments_lab.statistics.several import difference, differences, dunnett, shown_worse


def drawn(mean, seeds=10, images=40, number=0):
    rng = np.random.default_rng(number)
    return (
        mean + rng.standard_normal((seeds, 1)) + rng.standard_normal((1, images)) + rng.standard_normal((seeds, images))
    )


def test_a_single_difference_is_not_adjusted():
    scores = drawn(-1.5)
    found, of = difference(scores), spread(scores)
    assert of is not None
    assert found.ci95 == estimate(scores).ci95
    assert found.ci95_adjusted == pytest.approx(found.ci95)
    assert found.df == of.df
    t = scores.mean() / of.standard_error
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(t), of.df))
    assert found.p_adjusted == pytest.approx(found.p_value)
    assert found.ci95_these_images == pytest.approx(over_seeds(scores.mean(axis=1)).ci95)


def test_of_three_differences_p_and_intervals_are_sidaks():
    all_scores = [drawn(mean, number=number) for number, mean in enumerate((-2.0, 0.0, 0.8))]
    for found, scores in zip(differences(all_scores), all_scores, strict=True):
        of = spread(scores)
        assert of is not None
        assert found.p_value is not None
        assert found.p_adjusted == pytest.approx(1 - (1 - found.p_value) ** 3)
        half = stats.t.isf((1 - 0.95 ** (1 / 3)) / 2, of.df) * of.standard_error
        assert found.ci95_adjusted == pytest.approx((scores.mean() - half, scores.mean() + half))


@pytest.mark.slow
@pytest.mark.parametrize("looks", [None, Planned((5, 10), 1), ANYTIME])
def test_the_verdict_the_adjusted_interval_and_the_adjusted_p_agree(looks):
    outcomes = set()
    for number in range(10):
        family = [drawn(mean, number=10 * number + k) for k, mean in enumerate(np.linspace(-3, 3, 5))]
        for found in differences(family, None if looks is None else [looks] * 5):
            assert found.ci95_adjusted is not None
            assert found.p_adjusted is not None
            low, high = found.ci95_adjusted
            assert (low > 0 or high < 0) == (found.p_adjusted < 0.05)
            assert found.outcome == ("gain" if high < 0 else "harm" if low > 0 else "not shown")
            outcomes.add(found.outcome)
    assert outcomes == {"gain", "harm", "not shown"}


def test_differences_without_an_interval_are_counted_so_that_a_lost_run_changes_nothing_for_the_others():
    alone, *_ = differences([drawn(-1.0), *[drawn(0.0, number=number) for number in (1, 2, 3)]])
    found, same, missing, one_seed = differences(
        [drawn(-1.0), np.zeros((10, 40)), np.empty((0, 0)), np.array([[-1.0, 1.0]])]
    )
    assert found == alone
    assert (same.mean, same.ci95, same.p_adjusted, same.outcome) == (0.0, None, None, "unknown")
    assert (missing.mean, missing.n, missing.outcome) == (None, 0, "unknown")
    assert (one_seed.mean, one_seed.n, one_seed.outcome) == (0.0, 1, "unknown")


def test_a_tiny_p_stays_a_number_above_0():
    (found, _) = differences([drawn(-50.0), drawn(0.0)])
    assert found.p_adjusted is not None
    assert 0 < found.p_adjusted < 1e-6


@pytest.mark.parametrize(
    ("mean", "margin", "outcome"),
    [
        (0.0, 5.0, "no difference that matters"),
        (0.0, 0.1, "not shown"),
        (0.0, None, "not shown"),
        # One end of the interval is within the margin, the other is not.
        (-0.5, 0.4, "not shown"),
        (0.3, 0.7, "not shown"),
        (-3.0, 0.1, "gain"),
        # Shown, and smaller than the margin: it is shown.
        (-3.0, 9.0, "gain"),
        (3.0, 9.0, "harm"),
    ],
)
def test_a_margin_decides_what_does_not_matter(mean, margin, outcome):
    (found,) = differences([drawn(mean)], margin=margin)
    assert found.outcome == outcome


def test_all_adjusted_intervals_cover_at_once():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        reference = rng.standard_normal((10, 1)) + rng.standard_normal((10, 20))
        family = [rng.standard_normal((10, 1)) + rng.standard_normal((10, 20)) - reference for _ in range(5)]
        covered += all(low <= 0 <= high for low, high in (found.ci95_adjusted for found in differences(family)))
    assert covered >= 0.93 * 600


# Dunnett (1955), table 1a: one-sided, joint 95%.
@pytest.mark.parametrize(
    ("comparisons", "df", "d"),
    [(1, 20, 1.72), (2, 20, 2.03), (3, 20, 2.19), (9, 20, 2.60), (2, 5, 2.44), (9, 60, 2.48)],
)
def test_dunnetts_d_is_that_of_the_table(comparisons, df, d):
    assert dunnett(comparisons, df) == pytest.approx(d, abs=0.011)


@pytest.mark.parametrize(("comparisons", "df"), [(2, 1.0), (3, 2.0), (5, 4.0)])
def test_dunnetts_d_of_few_degrees_of_freedom_is_that_of_a_simulation(comparisons, df):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((200_000, comparisons + 1))
    s = (rng.chisquare(df, 200_000) / df) ** 0.5
    simulated = np.quantile((z[:, 1:].max(axis=1) - z[:, 0]) / (2**0.5 * s), 0.95)
    assert dunnett(comparisons, df) == pytest.approx(simulated, rel=0.03)


def test_next_to_no_degrees_of_freedom_show_nothing():
    assert dunnett(8, 0.3) > 100
    assert np.isinf(dunnett(8, 0.1))
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert shown_worse(100.0 * (rng.random((9, 2, 5)) < 0.2)).sum() < 9


def test_the_worse_ones_are_those_that_are_far_above_the_lowest():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((5, 20, 1)) + np.array([0.0, 0.1, 3.0, 0.1, 5.0])[:, None, None]
    assert shown_worse(scores).tolist() == [False, False, True, False, True]


def test_two_methods_are_compared_by_a_one_sided_test():
    for number in range(50):
        pair = np.stack([drawn(0.0, number=number), drawn(0.6, number=number + 1000)])
        worse, other = sorted((0, 1), key=lambda k: -pair[k].mean())
        found = difference(pair[worse] - pair[other])
        assert found.p_value is not None
        assert bool(shown_worse(pair)[worse]) == (found.p_value / 2 < 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("deviations", [np.geomspace(0.5, 2, 8), pytest.param(np.ones(8), marks=pytest.mark.thorough)])
def test_the_best_is_called_worse_in_at_most_one_case_of_twenty(deviations):
    rng = np.random.default_rng(0)
    found = [shown_worse((rng.standard_normal((8, 15)) * deviations[:, None])[:, :, None]) for _ in range(200)]
    assert np.mean(found) <= 0.07


def test_nothing_is_worse_with_one_seed_or_without_spread():
    assert not shown_worse(np.arange(3.0)[:, None, None]).any()
    assert not shown_worse(np.zeros((3, 4, 5))).any()
