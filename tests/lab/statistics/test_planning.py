import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.crossed import Spread, spread
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Planned
from torchmoments_lab.statistics.planning import chance, images_needed, power, seeds_needed


def of(seeds, images, of_seeds, of_images, rest):
    """The spread of a table with these variances."""
    residual = rest / (seeds * images)
    return Spread(of_seeds / seeds + residual, of_images / images + residual, residual, seeds, images)


RULES = [ONCE, Planned((10, 20, 40), 2), ANYTIME]


def simulated(points, seeds, rule, level):
    """How often a difference is shown, of seeds that alone vary, with deviation 1."""
    scores = points + np.random.default_rng(0).standard_normal((100_000, seeds))
    variance = scores.var(axis=1, ddof=1) / seeds
    return np.mean(scores.mean(axis=1) / variance**0.5 > rule.critical(level, Spread(1.0, 0.0, 0.0, seeds, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 4, 8, 20])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", [0.05, 0.0253])
def test_the_power_is_that_of_simulated_comparisons_with_few_seeds_too(seeds, rule, level):
    for points in (0.5, 1.0, 3.0, 8.0):
        expected = simulated(points, seeds, rule, level)
        assert power(points, Spread(1 / seeds, 0.0, 0.0, seeds, 1), rule, level) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("images", [30, 400])
def test_the_power_is_that_of_a_noncentral_t(images):
    present = of(6, images, 4.0, 20.0, 400.0)
    t = stats.nct(present.df, 2.5 / present.standard_error)
    assert power(2.5, present, ONCE, 0.05) == pytest.approx(t.sf(stats.t.isf(0.025, present.df)), abs=2e-3)


def test_so_many_seeds_have_eighty_percent_power_and_one_fewer_has_less():
    present = of(10, 1000, 4.0, 20.0, 400.0)
    for rule in RULES[1:]:
        needed = seeds_needed(present, 1.0, rule, 0.05)
        assert needed is not None
        assert needed > 10
        assert power(1.0, present.expected(needed, 1000), rule, 0.05) >= 0.8
        assert power(1.0, present.expected(needed - 1, 1000), rule, 0.05) < 0.8


def test_seeds_that_are_added_after_a_single_look_are_counted_as_a_look_without_a_plan():
    present = of(10, 1000, 4.0, 20.0, 400.0)
    assert power(1.0, present, ONCE, 0.05) < 0.8
    assert seeds_needed(present, 1.0, ONCE, 0.05) == seeds_needed(present, 1.0, ANYTIME, 0.05)


def test_so_many_images_have_eighty_percent_power_and_one_fewer_has_less():
    present = of(10, 100, 0.2, 20.0, 400.0)
    needed = images_needed(present, 1.0, ONCE, 0.05)
    assert needed is not None
    assert needed > 100
    assert power(1.0, present.expected(10, needed), ONCE, 0.05) >= 0.8
    assert power(1.0, present.expected(10, needed - 1), ONCE, 0.05) < 0.8


def test_what_is_there_is_enough_only_if_its_power_is():
    present = of(3, 300, 10.0, 0.0, 0.0)
    # A normal distribution in place of t would say that it is.
    assert (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * present.standard_error < 6
    assert power(6.0, present, ONCE, 0.05) < 0.7
    assert seeds_needed(present, 6.0, ONCE, 0.05) > 3
    assert seeds_needed(present, 12.0, ONCE, 0.05) == 3
    assert images_needed(present, 12.0, ONCE, 0.05) == 300


def test_no_number_of_seeds_makes_up_for_few_images_nor_of_images_for_few_seeds():
    present = of(10, 100, 4.0, 40.0, 400.0)
    for rule in RULES:
        assert seeds_needed(present, 1.0, rule, 0.05) is None
        assert seeds_needed(present, 3.0, rule, 0.05) is not None
    assert images_needed(present, 1.0, ONCE, 0.05) is None


def test_next_to_no_difference_is_never_shown():
    present = of(10, 1000, 4.0, 0.0, 400.0)
    for rule in RULES:
        assert seeds_needed(present, 1e-160, rule, 0.05) is None
        assert seeds_needed(present, 1e-2, rule, 0.05) is not None


def test_images_that_are_no_sample_are_not_asked_for():
    alone = spread(np.array([[1.0], [2.0], [4.0]]))
    assert alone is not None
    assert images_needed(alone, 5.0, ONCE, 0.05) is None
    assert seeds_needed(alone, 5.0, ONCE, 0.05) is not None


@pytest.mark.parametrize(("mean", "images"), [(0.0, 0.0), (0.2, 0.0), (0.6, 0.0), (0.3, 0.05)])
def test_the_chance_is_that_of_simulated_ends(mean, images):
    plan = Planned((10, 20, 40), 1)
    present = Spread(1 / 20, images, 0.0, 20, 100)
    truth = mean + stats.norm.ppf(0.9) * present.standard_error
    # The mean at the end, given the present one: both share the images' part.
    rng = np.random.default_rng(0)
    of_images = images / present.variance * (mean - truth) + np.sqrt(
        images * (1 - images / present.variance)
    ) * rng.standard_normal(200_000)
    now = mean - truth - of_images
    end = truth + of_images + now / 2 + np.sqrt(1 / 20) / 2 * rng.standard_normal(200_000)
    last = Spread(1 / 40, images, 0.0, 40, 100)
    critical = Planned((10, 20, 40), 2).critical(0.05, last) * last.variance**0.5
    assert chance(mean, present, plan, 0.05) == pytest.approx((abs(end) > critical).mean(), abs=0.01)


def test_a_small_difference_is_hopeless_unless_a_margin_can_still_be_shown():
    plan, present = Planned((10, 20, 40), 1), Spread(1 / 20, 0.0, 0.0, 20, 1)
    assert chance(0.0, present, plan, 0.05) < 0.1
    assert chance(0.0, present, plan, 0.05, margin=0.1) < 0.1
    assert chance(0.0, present, plan, 0.05, margin=0.5) > 0.5


@pytest.mark.parametrize("mean", [0.05, 0.15])
def test_the_chance_of_no_difference_that_matters_is_that_of_simulated_ends(mean):
    plan, present = Planned((10, 20, 40), 1), Spread(1 / 20, 0.0, 0.0, 20, 1)
    truth = max(0.0, mean - stats.norm.ppf(0.9) * present.standard_error)
    rng = np.random.default_rng(0)
    end = (mean + truth + np.sqrt(1 / 20) * rng.standard_normal(200_000)) / 2
    half = Planned((10, 20, 40), 2).critical(0.05, Spread(1 / 40, 0.0, 0.0, 40, 1)) / np.sqrt(40)
    within = (abs(end) + half < 0.5).mean()
    assert within > (abs(end) > half).mean()
    assert chance(mean, present, plan, 0.05, margin=0.5) == pytest.approx(within, abs=0.01)
