import numpy as np
import pytest
from scipy import stats

from torchmoments_lab.statistics.crossed import Spread, spread
from torchmoments_lab.statistics.looks import Planned
from torchmoments_lab.statistics.planning import chance, images_needed, seeds_needed


def of(seeds, images, of_seeds, of_images, rest):
    """The spread of a table with these variances."""
    residual = rest / (seeds * images)
    return Spread(of_seeds / seeds + residual, of_images / images + residual, residual, seeds, images)


def power(points, variance):
    z = points / variance**0.5
    return stats.norm.sf(1.96 - z) + stats.norm.sf(1.96 + z)


def test_so_many_seeds_have_eighty_percent_power_and_one_fewer_has_less():
    present = of(10, 1000, 4.0, 20.0, 400.0)
    needed = seeds_needed(present, 1.0, 1.96)
    assert needed is not None
    assert power(1.0, 4 / needed + 20 / 1000 + 400 / (needed * 1000)) >= 0.8
    assert power(1.0, 4 / (needed - 1) + 20 / 1000 + 400 / ((needed - 1) * 1000)) < 0.8


def test_so_many_images_have_eighty_percent_power_and_one_fewer_has_less():
    present = of(10, 100, 0.2, 20.0, 400.0)
    needed = images_needed(present, 1.0, 1.96)
    assert needed is not None
    assert power(1.0, 0.2 / 10 + 20 / needed + 400 / (10 * needed)) >= 0.8
    assert power(1.0, 0.2 / 10 + 20 / (needed - 1) + 400 / (10 * (needed - 1))) < 0.8


def test_no_number_of_seeds_makes_up_for_few_images_nor_of_images_for_few_seeds():
    assert seeds_needed(of(10, 100, 4.0, 40.0, 400.0), 1.0, 1.96) is None
    assert images_needed(of(10, 100, 4.0, 40.0, 400.0), 1.0, 1.96) is None
    assert seeds_needed(of(10, 100, 4.0, 40.0, 400.0), 3.0, 1.96) is not None


def test_next_to_no_difference_is_never_shown():
    assert seeds_needed(of(10, 1000, 4.0, 0.0, 400.0), 1e-160, 1.96) is None
    assert seeds_needed(of(10, 1000, 4.0, 0.0, 400.0), 1e-3, 1.96) is not None


def test_images_that_are_no_sample_are_not_asked_for():
    alone = spread(np.array([[1.0], [2.0], [4.0]]))
    assert alone is not None
    assert images_needed(alone, 5.0, 1.96) is None
    assert seeds_needed(alone, 5.0, 1.96) is not None


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
