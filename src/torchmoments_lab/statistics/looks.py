"""What an interval and a p become if results are looked at while seeds are added.

Each rule answers two questions about t = mean / sqrt(V): which p it has, and which t is critical at a level. The two
agree: p < level exactly if |t| > critical.

    ONCE            the number of seeds was fixed beforehand: Student's t
    Planned         looks at numbers of seeds that were fixed beforehand, with the right to stop at each
    Anytime         seeds were added after a look, without a plan: right however often and whenever one looks
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from torchmoments_lab.statistics.crossed import Spread


class Looks(Protocol):
    """A rule for looking at results."""

    def p_value(self, t: float, of: Spread) -> float:
        """Two-sided p of t = mean / sqrt(V)."""

    def critical(self, level: float, of: Spread) -> float:
        """The |t| from which on p is below the level; infinite if there is none."""

    @property
    def later(self) -> "Looks":
        """The rule once there are more seeds: of a plan, that of its last look."""


@dataclass(frozen=True)
class Once:
    """One look."""

    def p_value(self, t: float, of: Spread) -> float:
        return _two_sided(t, of.df)

    def critical(self, level: float, of: Spread) -> float:
        return -float(stdtrit(of.df, level / 2))

    @property
    def later(self) -> "Anytime":
        return ANYTIME


ONCE = Once()


@dataclass(frozen=True)
class Planned:
    """Looks at these numbers of seeds, of which `look` (from 0) is the present one.

    The level is spent as in the plan of O'Brien and Fleming (Lan and DeMets 1983): up to the share u of the seeds

        2 P(N > z(level / 2) / sqrt(u))

    Test images do not grow with the seeds. What they add to V is shared by all looks, which then resemble each other
    more than the plan assumes: less of the level is used, never more.
    """

    looks: tuple[int, ...]
    look: int

    def p_value(self, t: float, of: Spread) -> float:
        """The smallest level at which this look, at its part of the level, shows a difference."""
        nominal = _two_sided(t, of.df)
        if self.look == 0 and len(self.looks) == 1:
            return nominal
        return float(np.exp(_zero(lambda log: self._nominal(float(np.exp(log))) - nominal, np.log(1e-12), -1e-9)))

    def critical(self, level: float, of: Spread) -> float:
        nominal = self._nominal(level)
        # Before SciPy 1.17 the quantile of 0 is not a number.
        return abs(float(stdtrit(of.df, nominal / 2))) if nominal > 0 else float("inf")

    @property
    def later(self) -> "Planned":
        return Planned(self.looks, len(self.looks) - 1)

    def _nominal(self, level: float) -> float:
        return nominal_levels(self.looks, level)[self.look]


@dataclass(frozen=True)
class Anytime:
    """No plan: a mixture over effect sizes, which is right at all numbers of seeds at once.

    With effect size (mean / sd of a seed) drawn from N(0, g), the ratio of the likelihoods of t with and without an
    effect, for n seeds and df degrees of freedom, is

        R = c^(-1/2) ((1 + t^2 / df) / (1 + t^2 / (c df)))^((df + 1) / 2)        c = 1 + n g

    Without an effect it exceeds 1 / level at some n with a probability of at most the level (Ville's inequality; Lai
    1976; Wang and Ramdas 2025, "Anytime-valid t-tests and confidence sequences"). So p = 1 / R, and solved for t:

        t^2 = df (r - 1) / (1 - r / c)        r = (sqrt(c) / level)^(2 / (df + 1)), if r < c

    n counts the seeds as far as they matter: what the test images add to V does not change from look to look, so n is
    the variance over seeds divided by V.
    """

    # Narrowest at about 20 seeds.
    G = 0.4

    def p_value(self, t: float, of: Spread) -> float:
        c, df = self._c(of), of.df
        log_ratio = (df + 1) / 2 * np.log((1 + t**2 / df) / (1 + t**2 / (c * df))) - np.log(c) / 2
        return float(min(1.0, np.exp(-log_ratio)))

    def critical(self, level: float, of: Spread) -> float:
        c, df = self._c(of), of.df
        r = (c**0.5 / level) ** (2 / (df + 1))
        return float((df * (r - 1) / (1 - r / c)) ** 0.5) if r < c else float("inf")

    @property
    def later(self) -> "Anytime":
        return self

    def _c(self, of: Spread) -> float:
        return 1 + self.G * of.of_seeds * of.seeds / of.variance


ANYTIME = Anytime()


@lru_cache(maxsize=4096)
def nominal_levels(looks: Sequence[int], level: float) -> tuple[float, ...]:
    """The level of each look, alone, so that all of them together have `level`, two-sided.

    With B(u) a Brownian motion, |B(u)| / sqrt(u) crosses the boundary for the first time at look k with the probability
    that is spent there. The density of B among those that did not cross is kept at Gauss-Legendre nodes.
    """
    shares = np.asarray(looks) / looks[-1]
    spent = 2 * ndtr(ndtri(level / 2) / np.sqrt(shares))
    # Of next to nothing a boundary is far out, and not infinite.
    boundary = -float(ndtri(max(spent[0], 1e-300) / 2))
    found = [float(spent[0])]
    nodes, weights = np.polynomial.legendre.leggauss(128)
    at, mass = np.zeros(1), np.ones(1)
    for k in range(1, len(shares)):
        # From the look before to this one.
        before, step = boundary * shares[k - 1] ** 0.5, (shares[k] - shares[k - 1]) ** 0.5
        of_before = shares[k - 1] ** 0.5 if k == 1 else (shares[k - 1] - shares[k - 2]) ** 0.5
        new = before * nodes
        density = np.exp(-(((new[:, None] - at) / of_before) ** 2) / 2) / (of_before * (2 * np.pi) ** 0.5) @ mass
        at, mass = new, density * weights * before
        to_spend = spent[k] - spent[k - 1]

        def crossing(z: float, at: np.ndarray = at, mass: np.ndarray = mass, k: int = k, step: float = step) -> float:
            edge = z * shares[k] ** 0.5
            return float((ndtr((-edge - at) / step) + ndtr((at - edge) / step)) @ mass)

        boundary = _zero(lambda z, f=crossing, s=to_spend: s - f(z), 0.0, 40.0)  # type: ignore[misc]
        found.append(2 * float(ndtr(-boundary)))
    return tuple(found)


def _two_sided(t: float, df: float) -> float:
    return float(2 * stdtr(df, -abs(t)))


def _zero(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0; the nearer end if it is 0 nowhere between."""
    if rising(low) >= 0:
        return low
    if rising(high) <= 0:
        return high
    # Its import takes as long as the rest of a report, and few reports have planned looks.
    from scipy.optimize import brentq

    return float(brentq(rising, low, high, xtol=1e-12))
