import math

import numpy as np
import pytest
from scipy import integrate, stats

from torchmoments_lab.statistics.crossed import Spread, spread
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Planned, nominal_levels


def of_seeds(number):
    """Scores of one number a seed."""
    return Spread(1 / number, 0.0, 0.0, number, 1)


@pytest.mark.parametrize(
    "rule", [ONCE, Planned((10, 20, 40), 0), Planned((10, 20, 40), 1), Planned((10, 20), 1), ANYTIME]
)
@pytest.mark.parametrize("level", [0.05, 0.01, 0.2])
def test_p_is_the_level_at_the_critical_value(rule, level):
    critical = rule.critical(level, of_seeds(20))
    assert rule.p_value(critical, of_seeds(20)) == pytest.approx(level, rel=1e-3)
    assert rule.p_value(-critical, of_seeds(20)) == pytest.approx(level, rel=1e-3)
    assert rule.p_value(1.1 * critical, of_seeds(20)) < level < rule.p_value(0.9 * critical, of_seeds(20))


def test_a_single_look_is_the_t_test():
    values = np.array([1.0, 2.0, 4.0, 0.5, 3.0])
    t, p = stats.ttest_1samp(values, 0)
    of = spread(values[:, None])
    assert of is not None
    assert ONCE.p_value(float(t), of) == pytest.approx(float(p))
    assert Planned((5,), 0).p_value(float(t), of) == pytest.approx(float(p))


def test_the_levels_of_planned_looks_are_those_of_o_brien_and_fleming_type_spending():
    found = nominal_levels((10, 20, 40), 0.05)
    # At the first look all that is spent: 2 P(N > 1.96 / sqrt(1 / 4)).
    assert found[0] == pytest.approx(2 * stats.norm.sf(stats.norm.isf(0.025) * 2))
    # Two looks, by the bivariate normal: |z1| < c1 and |z2| < c2 with probability 0.95.
    first, second = (float(stats.norm.isf(level / 2)) for level in nominal_levels((20, 40), 0.05))
    inside = stats.multivariate_normal([0, 0], [[1, 0.5**0.5], [0.5**0.5, 1]]).cdf(
        [first, second], lower_limit=[-first, -second]
    )
    assert inside == pytest.approx(0.95, abs=1e-5)
    assert found[0] < found[1] < found[2] < 0.05


@pytest.mark.parametrize("looks", [(2, 80), (10, 400), (2, 1000), (2, 3, 1000), (2, 100_000)])
def test_a_first_look_at_next_to_nothing_shows_nothing(looks):
    levels = nominal_levels(looks, 0.05)
    assert levels[0] < 1e-10
    assert levels[-1] == pytest.approx(0.05, abs=1e-4)
    for look in range(len(looks)):
        rule = Planned(looks, look)
        assert rule.critical(0.05, of_seeds(looks[look])) > 1.9
        assert 0 < rule.p_value(3.0, of_seeds(looks[look])) <= 1
    assert Planned(looks, 0).p_value(30.0, of_seeds(looks[0])) > 0.05


def test_all_planned_looks_together_have_the_level():
    rng = np.random.default_rng(0)
    looks = (5, 10, 20, 40, 50)
    sums = rng.standard_normal((100_000, 50)).cumsum(axis=1)[:, np.array(looks) - 1]
    z = abs(sums) / np.sqrt(looks)
    crossed = (z > stats.norm.isf(np.array(nominal_levels(looks, 0.05)) / 2)).any(axis=1)
    assert crossed.mean() == pytest.approx(0.05, abs=0.002)


def mixture(t, n, df):
    """The likelihood ratio of t with an effect size from N(0, g), by integration of noncentral t."""
    with_effect, _ = integrate.quad(
        lambda d: stats.nct.pdf(t, df, d * math.sqrt(n)) * stats.norm.pdf(d, scale=math.sqrt(ANYTIME.G)), -6, 6
    )
    return with_effect / stats.t.pdf(t, df)


@pytest.mark.parametrize(("n", "t"), [(5, 2.0), (10, 0.3), (10, -4.0), (20, 3.0), (40, 3.5)])
def test_the_anytime_p_is_one_over_the_mixture_of_likelihood_ratios(n, t):
    assert ANYTIME.p_value(t, of_seeds(n)) == pytest.approx(min(1.0, 1 / mixture(t, n, n - 1)), rel=1e-4)


def test_seeds_count_as_far_as_the_images_let_them():
    # Half of V is the images': 20 seeds are as 10.
    of = Spread(1 / 20, 1 / 20, 0.0, 20, 10**9)
    assert of.df == pytest.approx(4 * 19, rel=1e-6)
    assert ANYTIME.p_value(3.2, of) == pytest.approx(1 / mixture(3.2, 10, of.df), rel=1e-4)


def test_more_seeds_after_a_single_look_are_an_unplanned_one_and_a_plan_goes_to_its_end():
    assert ONCE.later == ANYTIME.later == ANYTIME
    assert Planned((10, 20, 40), 0).later == Planned((10, 20, 40), 2)


def test_a_few_seeds_have_no_anytime_interval():
    assert math.isinf(ANYTIME.critical(0.05, of_seeds(4)))
    assert math.isfinite(ANYTIME.critical(0.05, of_seeds(10)))


def shown(rule_of, scores):
    """Whether any look shows a difference; `rule_of` gives {number of seeds: rule}."""
    for seeds, rule in rule_of.items():
        of = spread(scores[:seeds])
        if abs(scores[:seeds].mean()) > rule.critical(0.05, of) * of.standard_error:
            return True
    return False


PLAN = {10: Planned((10, 20, 40), 0), 20: Planned((10, 20, 40), 1), 40: Planned((10, 20, 40), 2)}


@pytest.mark.slow
@pytest.mark.parametrize("of_images", [0.0, 1.0])
def test_looks_show_nothing_too_often_where_there_is_nothing(of_images):
    rng = np.random.default_rng(0)
    rules = {
        "each by itself": dict.fromkeys((5, 10, 20, 40), ONCE),
        "planned": PLAN,
        "anytime": dict.fromkeys(range(4, 41), ANYTIME),
    }
    count = dict.fromkeys(rules, 0)
    for _ in range(600):
        scores = rng.standard_normal((40, 1)) + of_images * rng.standard_normal((1, 8)) + rng.standard_normal((40, 8))
        for name, rule_of in rules.items():
            count[name] += shown(rule_of, scores)
    assert count["planned"] <= 0.075 * 600
    assert count["anytime"] <= 0.05 * 600
    # So the check can fail.
    assert count["each by itself"] > 0.07 * 600


def test_planned_looks_show_half_a_standard_deviation_in_six_of_seven_cases():
    rng = np.random.default_rng(0)
    found = sum(shown(PLAN, 0.5 + rng.standard_normal((40, 1))) for _ in range(1000))
    assert found > 830
