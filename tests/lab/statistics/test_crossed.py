import itertools
import math

import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.crossed import estimate, over_seeds, pointwise, spread
from torchmoments_lab.statistics.several import difference
from torchmoments_lab.statistics.values import clipped


def slow_spread(scores):
    """vs, vi and ve, number by number."""
    seeds, images = len(scores), len(scores[0])
    mean = sum(map(sum, scores)) / (seeds * images)
    of_seeds = [sum(row) / images for row in scores]
    of_images = [sum(row[i] for row in scores) / seeds for i in range(images)]
    vs = sum((a - mean) ** 2 for a in of_seeds) / (seeds - 1) / seeds
    vi = sum((b - mean) ** 2 for b in of_images) / (images - 1) / images
    rest = 0.0
    for s, i in itertools.product(range(seeds), range(images)):
        rest += (scores[s][i] - of_seeds[s] - of_images[i] + mean) ** 2
    return vs, vi, rest / ((seeds - 1) * (images - 1)) / (seeds * images)


def drawn(seeds, images, of_seeds=1.0, of_images=1.0, rest=3.0, number=0):
    rng = np.random.default_rng(number)
    return (
        of_seeds * rng.standard_normal((seeds, 1))
        + of_images * rng.standard_normal((1, images))
        + rest * rng.standard_normal((seeds, images))
    )


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.0, 0.0), (2.0, 0.0), (0.0, 2.0), (2.0, 2.0)])
def test_the_interval_is_that_of_the_formulas_number_by_number(of_seeds, of_images):
    scores = drawn(5, 30, of_seeds, of_images)
    vs, vi, ve = slow_spread(scores.tolist())
    variance = max(vs, vi, vs + vi - ve)
    df = variance**2 / (vs**2 / 4 + vi**2 / 29 + ve**2 / (4 * 29))
    mean = scores.sum() / 150
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    found = estimate(scores)
    assert found.mean == pytest.approx(mean)
    assert found.ci95 == pytest.approx((mean - half, mean + half))
    assert found.n == 5


def test_the_interval_of_three_seeds_and_two_images_is_the_one_worked_out_by_hand():
    # Means of seeds 0, 2 and 4, of images 1 and 3; each residual is 0.
    scores = np.array([[-1.0, 1.0], [1.0, 3.0], [3.0, 5.0]])
    # vs = 4 / 3, vi = 2 / 2 = 1, ve = 0: V = 7 / 3, df = (49 / 9) / ((16 / 9) / 2 + 1 / 1) = 49 / 17.
    of = spread(scores)
    assert of is not None
    assert (of.of_seeds, of.of_images, of.of_residual) == pytest.approx((4 / 3, 1, 0))
    assert (of.variance, of.df) == pytest.approx((7 / 3, 49 / 17))


def van_dyke():
    """A table whose mean squares are those of the Van Dyke study, 5 readers and 114 cases, as differences of two areas
    under ROC. Published output of OR-DBM MRMC 2.51 (University of Iowa, 2020)."""
    readers = np.array([-0.02818036, -0.04653784, -0.01787440, -0.02624799, -0.10016102])
    of_both, of_all = 2 * 0.01197530, 2 * 0.03997160
    rng = np.random.default_rng(0)
    cases = rng.standard_normal(114)
    cases -= cases.mean()
    cases *= ((of_both + of_all / 5) / cases.var(ddof=1)) ** 0.5
    rest = rng.standard_normal((5, 114))
    rest -= rest.mean(axis=0) + rest.mean(axis=1, keepdims=True) - rest.mean()
    rest *= (of_all * 4 * 113 / (rest**2).sum()) ** 0.5
    return readers[:, None] + cases + rest


def test_the_published_analysis_of_readers_and_cases_comes_out():
    of = spread(van_dyke())
    assert of is not None
    assert van_dyke().mean() == pytest.approx(-0.04380, abs=5e-6)
    assert of.standard_error == pytest.approx(0.02075, abs=5e-6)
    # Hillis counts readers alone: 15.26. With cases and residuals the degrees of freedom are fewer.
    assert of.variance**2 / (of.of_seeds**2 / 4) == pytest.approx(15.26, abs=5e-3)
    assert of.df == pytest.approx(13.96, abs=5e-3)
    assert over_seeds(van_dyke().mean(axis=1)).ci95 == pytest.approx((-0.08502, -0.00258), abs=5e-6)


def test_one_number_a_seed_gives_the_t_interval():
    values = [4.0, 5.5, 6.0, 3.5]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert over_seeds(np.array(values)).ci95 == pytest.approx((low, high))


@pytest.mark.parametrize("scores", [drawn(1, 5), drawn(2, 5), np.ones((4, 5)), np.ones((4, 1)), np.zeros((3, 3))])
def test_fewer_than_three_seeds_or_no_spread_give_no_interval(scores):
    assert estimate(scores).ci95 is None
    assert estimate(scores).mean == scores.mean()


def test_no_scores_give_no_mean():
    found = estimate(np.empty((0, 0)))
    assert (found.mean, found.ci95, found.n) == (None, None, 0)


def test_seeds_that_all_differ_alike_still_leave_the_images():
    scores = np.array([[100.0, 0.0, 0.0, 0.0], [0.0, 100.0, 0.0, 0.0], [0.0, 100.0, 0.0, 0.0]])
    assert np.ptp(scores.mean(axis=1)) == 0
    assert estimate(scores).ci95 is not None


def test_no_interval_is_beyond_what_can_be():
    scores = np.array([[100.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = estimate(scores)
    assert found.ci95 is not None
    assert found.ci95[0] < 0
    assert clipped(found, 0, 100).ci95 == (0, min(found.ci95[1], 100))
    of_two = difference(100 * np.sign(drawn(3, 3)))
    assert of_two.ci95 is not None
    low, high = of_two.ci95
    assert clipped(of_two, -100, 100).ci95 == (max(low, -100), min(high, 100))
    assert clipped(of_two, -100, 100).p_value == of_two.p_value


def test_the_interval_does_not_depend_on_the_order_of_seeds_and_images():
    scores, rng = drawn(6, 40), np.random.default_rng(1)
    mixed = scores[rng.permutation(6)][:, rng.permutation(40)]
    assert estimate(mixed).ci95 == pytest.approx(estimate(scores).ci95)


def test_the_expected_variance_is_the_present_one_for_the_present_numbers():
    of = spread(drawn(6, 40, 3.0, 3.0))
    assert of is not None
    assert of.variance == of.of_seeds + of.of_images - of.of_residual
    assert of.expected(6, 40).variance == pytest.approx(of.variance)
    assert of.expected(6, 40).df == pytest.approx(of.df)


def test_the_expected_variance_is_that_of_more_seeds_and_images():
    few, many = (
        np.mean([spread(drawn(seeds, images, number=k)).expected(20, 200).variance for k in range(300)])
        for seeds, images in ((5, 50), (20, 200))
    )
    assert few == pytest.approx(many, rel=0.1)
    assert many == pytest.approx(1 / 20 + 1 / 200 + 9 / 4000, rel=0.1)


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_interval_covers_other_seeds_and_other_images(of_seeds, of_images):
    covered = sum(
        low <= 0 <= high
        for number in range(1000)
        for low, high in [estimate(drawn(10, 50, of_seeds, of_images, number=number)).ci95]
    )
    assert 935 <= covered <= 985


def test_the_interval_over_seeds_alone_does_not_cover_other_images():
    covered = sum(
        low <= 0 <= high
        for number in range(500)
        for low, high in [over_seeds(drawn(10, 50, 0.0, 2.0, number=number).mean(axis=1)).ci95]
    )
    assert covered < 400


def test_the_band_of_curves_is_the_t_interval_at_each_epoch():
    values = np.array([[1.0, 4.0], [2.0, 6.0], [6.0, 5.0]])
    mean, half = pointwise(values)
    assert mean == pytest.approx([3, 5])
    assert half is not None
    assert half == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(values))
    assert pointwise(values[:2])[1] is None
