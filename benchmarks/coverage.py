"""Simulate what the lab's intervals and verdicts promise.

    python benchmarks/coverage.py > results/coverage.md      all tables, about two minutes on one core
    python benchmarks/coverage.py looks                      one of them

Each table is printed as Markdown; numbers without a unit are percentages of simulated studies.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy.special import ndtri, stdtr

from torchmoments_lab.statistics.crossed import estimate, interval, over_seeds, spread
from torchmoments_lab.statistics.looks import ANYTIME, ONCE, Looks, Planned
from torchmoments_lab.statistics.robust import trimmed
from torchmoments_lab.statistics.several import difference, differences, dunnett, shown_worse
from torchmoments_lab.statistics.share import ratio
from torchmoments_lab.statistics.values import Interval

# Standard deviations of what makes an image wrong for one of two methods: how hard the image is for both, how hard for
# this one, how good this run is, and the rest. An image is wrong if their sum is above a threshold.
WORLDS = {
    "runs and images alike": (2.0, 0.0, 0.0, 1.0),
    "as on digits": (2.0, 0.3, 0.15, 1.0),
    "runs differ": (2.0, 0.3, 0.6, 1.0),
    "images differ": (1.0, 1.5, 0.15, 1.0),
}
ERROR, GAIN = 0.12, 0.02


def main(names: Sequence[str]) -> None:
    if not names:
        print("# Simulated coverage\n\n" + (__doc__ or "").partition("\n\n")[2].rstrip(), flush=True)
    for name in names or TABLES:
        rng = np.random.default_rng(0)
        head, rows = TABLES[name](rng)
        print(f"\n## {name.capitalize()}\n\n{' '.join((TABLES[name].__doc__ or '').split())}\n", flush=True)
        print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|", flush=True)
        for row in rows:
            print("| " + " | ".join(row) + " |", flush=True)


def paired(rng: np.random.Generator, world: str, seeds: int, images: int, gain: float) -> tuple[np.ndarray, float]:
    """Differences of two methods, [S, I] of -100, 0, 100, and the true mean of all runs and all images."""
    for_both, for_one, of_run, rest = WORLDS[world]
    of_all = (for_both**2 + for_one**2 + of_run**2 + rest**2) ** 0.5
    hard = for_both * rng.standard_normal(images, np.float32)
    wrong = []
    for error in (ERROR, ERROR - gain):
        threshold = -ndtri(error) * of_all
        image = hard + for_one * rng.standard_normal(images, np.float32)
        run = of_run * rng.standard_normal((seeds, 1), np.float32)
        wrong.append(image + run + rest * rng.standard_normal((seeds, images), np.float32) > threshold)
    return 100.0 * (wrong[1].astype(float) - wrong[0]), -100 * gain


def coverage(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """How often the 95% interval of a difference of 2 points covers it, for other runs and other images. `before`: the
    t interval over seeds; `sum`: V = vs + vi with S - 1 degrees of freedom; `t(S - 1)`: the present V with these. Two
    seeds get no interval."""
    intervals: dict[str, Callable[[np.ndarray], Interval | None]] = {
        "now": lambda scores: estimate(scores).ci95,
        "before": lambda scores: over_seeds(scores.mean(axis=1)).ci95,
        "sum": _sum,
        "t(S - 1)": lambda scores: _with_df(scores, len(scores) - 1),
    }

    def rows() -> Iterator[list[str]]:
        for world in WORLDS:
            for images in (100, 360, 1297, 10_000):
                for seeds in (3, 5, 10, 20):
                    times = max(200, min(2000, 10_000_000 // (seeds * images)))
                    hits = dict.fromkeys(intervals, 0)
                    for _ in range(times):
                        scores, truth = paired(rng, world, seeds, images, GAIN)
                        for name, rule in intervals.items():
                            hits[name] += _covers(rule(scores), truth)
                    yield [world, f"{images:,}", str(seeds), *(_percent(hits[name], times) for name in intervals)]

    return ["world", "images", "seeds", *intervals], rows()


def looks(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """How often a nonexistent difference is shown at one look or another: p of each look by itself, the plan 10..40,
    and the rule for unplanned growth, which is also looked at after each single seed up to 200. `images`: their part of
    the variance at 40 seeds. Last: how often the plan shows a difference of half a standard deviation, beside a single
    look at 40 seeds, and the mean number of seeds at which it is shown or the plan ends."""
    plan = (10, 20, 40)
    rules: dict[str, Sequence[tuple[int, Looks]]] = {
        "each by itself, 5, 10, 20, 40": [(seeds, ONCE) for seeds in (5, 10, 20, 40)],
        "planned 10..40": [(seeds, Planned(plan, number)) for number, seeds in enumerate(plan)],
        "unplanned 5, 10, 20, 40": [(seeds, ANYTIME) for seeds in (5, 10, 20, 40)],
        "unplanned, each of 3 to 200": [(seeds, ANYTIME) for seeds in range(3, 201)],
    }

    def shown(effect: float, part: float, rule: Sequence[tuple[int, Looks]]) -> int | None:
        """The number of seeds at which a difference is shown."""
        last, images = rule[-1][0], 10 if part else 1
        scores = effect + rng.standard_normal((last, 1)) + np.zeros((1, images))
        if part:
            # Variance of the mean over the images: part / (1 - part) times that over 40 seeds.
            of_images = (part / (1 - part) / 40 * images) ** 0.5
            scores = scores + of_images * rng.standard_normal((1, images)) + rng.standard_normal((last, images))
        for seeds, looked in rule:
            of = spread(scores[:seeds])
            assert of is not None
            if abs(float(scores[:seeds].mean())) > looked.critical(0.05, of) * of.standard_error:
                return seeds
        return None

    def rows() -> Iterator[list[str]]:
        for part in (0.0, 0.3, 0.8):
            for name, rule in rules.items():
                times = 1000 if len(rule) > 10 else 5000
                found = sum(shown(0.0, part, rule) is not None for _ in range(times))
                yield [name, _percent(part, 1), "0", _percent(found, times), ""]
        for name, rule in (("a single look at 40", [(40, ONCE)]), ("planned 10..40", rules["planned 10..40"])):
            at = [shown(0.5, 0.0, rule) for _ in range(5000)]
            ends = float(np.mean([40 if seeds is None else seeds for seeds in at]))
            yield [name, "0.0", "0.5", _percent(sum(seeds is not None for seeds in at), len(at)), f"{ends:.1f}"]

    return ["looks", "images", "effect", "shown", "seeds"], rows()


def several(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """Methods compared with one reference: how often any of them is shown where none differs, and how often all
    adjusted intervals cover at once. 10 seeds, 360 images."""

    def rows() -> Iterator[list[str]]:
        for methods in (1, 2, 5, 10):
            shown = covered = 0
            times = 2000
            for _ in range(times):
                scores = _several(rng, methods + 1, 10, 360)
                found = differences([of - scores[0] for of in scores[1:]])
                shown += any(one.outcome in ("gain", "harm") for one in found)
                covered += all(_covers(one.ci95_adjusted, 0.0) for one in found)
            yield [str(methods), _percent(shown, times), _percent(covered, times)]

    return ["methods", "any shown", "all covered"], rows()


def best(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """20 methods, 20 seeds, of which one is better than the other 19 by so many standard errors of a difference: how
    many of these are shown to be worse, and how often the best one is, or with 0 any one of 20 that are alike. The rule
    of the lab, beside Hsu's with pooled variances and Holm's over all pairs of paired t-tests. `unequal`: the standard
    deviations go from 0.5 to 2."""

    def rows() -> Iterator[list[str]]:
        for spreads in ("equal", "unequal"):
            for effect in (0.0, 4.0):
                times = 500
                worse = {name: np.zeros((times, 20), bool) for name in _WORSE}
                for number in range(times):
                    deviations = np.ones(20) if spreads == "equal" else rng.permutation(np.geomspace(0.5, 2, 20))
                    scores = rng.standard_normal((20, 20)) * deviations[:, None] + rng.standard_normal(20)
                    scores[1:] += effect * (2 / 20) ** 0.5
                    for name, rule in _WORSE.items():
                        worse[name][number] = rule(scores)
                shown = [100 * found[:, 1:].mean() if effect else None for found in worse.values()]
                # If all are alike, each is the best.
                wrong = [100 * (found[:, :1] if effect else found).mean() for found in worse.values()]
                yield [spreads, f"{effect:g}", *("" if x is None else f"{x:.1f}" for x in (*shown, *wrong))]

    names = [f"{what}, {name}" for what in ("shown", "the best") for name in _WORSE]
    return ["spread", "standard errors", *names], rows()


def share(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """The share of the labels in a gain, 40% in truth, with 10 seeds and 360 images: how often its interval covers it,
    over all studies and over those with a shown gain alone; and in how many it is bounded."""

    def rows() -> Iterator[list[str]]:
        for gain in (1.0, 2.0, 4.0):
            times, hits, bounded, shown, of_shown = 1000, 0, 0, 0, 0
            for _ in range(times):
                none, labels, moex = _several(rng, 3, 10, 360)
                part, whole = labels - none - 0.4 * gain, moex - none - gain
                found = ratio(part, whole)
                covers = found.ci95 is None or _covers(found.ci95, 0.4)
                is_shown = difference(whole).outcome == "gain"
                hits, bounded = hits + covers, bounded + (found.ci95 is not None)
                shown, of_shown = shown + is_shown, of_shown + (is_shown and covers)
            yield [f"{gain:g}", _percent(hits, times), _percent(bounded, times), _percent(of_shown, max(shown, 1))]

    return ["gain, points", "covered", "bounded", "covered, after a shown gain"], rows()


def collapse(rng: np.random.Generator) -> tuple[list[str], Iterator[list[str]]]:
    """1 run in 20 of a method collapses, to 40 points more, on 1,297 images as on digits: how often the interval of
    the mean covers the mean of all such runs, and that of the trimmed mean the difference of those that did not."""

    def rows() -> Iterator[list[str]]:
        for seeds in (10, 20, 40):
            plain = robust = 0
            times = 1000
            for _ in range(times):
                scores, truth = paired(rng, "as on digits", seeds, 1297, GAIN)
                gone = rng.random(seeds) < 0.05
                scores[gone] += 100 * (rng.random((int(gone.sum()), 1297)) < 0.4)
                plain += _covers(estimate(scores).ci95, truth + 0.05 * 40)
                robust += _covers(trimmed(scores).ci95, truth)
            yield [str(seeds), _percent(plain, times), _percent(robust, times)]

    return ["seeds", "mean", "trimmed mean"], rows()


TABLES = {table.__name__: table for table in (coverage, looks, several, best, share, collapse)}


def _several(rng: np.random.Generator, methods: int, seeds: int, images: int) -> np.ndarray:
    """Scores of methods that are equally good, [methods, S, I] of 0 and 100."""
    for_both, for_one, of_run, rest = WORLDS["as on digits"]
    hard = for_both * rng.standard_normal((1, 1, images), np.float32)
    image = for_one * rng.standard_normal((methods, 1, images), np.float32)
    run = of_run * rng.standard_normal((methods, seeds, 1), np.float32)
    sums = hard + image + run + rest * rng.standard_normal((methods, seeds, images), np.float32)
    threshold = -ndtri(ERROR) * (for_both**2 + for_one**2 + of_run**2 + rest**2) ** 0.5
    return 100.0 * (sums > threshold)


def _sum(scores: np.ndarray) -> Interval | None:
    of = spread(scores)
    return None if of is None else interval(float(scores.mean()), (of.of_seeds + of.of_images) ** 0.5, of.seeds - 1)


def _with_df(scores: np.ndarray, df: float) -> Interval | None:
    of = spread(scores)
    return None if of is None else interval(float(scores.mean()), of.standard_error, df)


def _pooled_worse(scores: np.ndarray) -> np.ndarray:
    """[k]: worse than the lowest by Hsu's procedure on [k, S], one variance for all."""
    methods, seeds = scores.shape
    rest = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    df = (methods - 1) * (seeds - 1)
    means = scores.mean(axis=1)
    worse: np.ndarray = means - means.min() > dunnett(methods - 1, df) * (2 * np.sum(rest**2) / df / seeds) ** 0.5
    return worse


def _holm_worse(scores: np.ndarray) -> np.ndarray:
    """[k]: worse than the lowest by paired t-tests on [k, S], Holm-adjusted over all pairs."""
    pairs = list(combinations(range(len(scores)), 2))
    minus = np.stack([scores[one] - scores[other] for one, other in pairs])
    seeds = scores.shape[1]
    p = 2 * stdtr(seeds - 1, -abs(minus.mean(axis=1)) / (minus.std(axis=1, ddof=1) / seeds**0.5))
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    lowest = int(scores.mean(axis=1).argmin())
    shown = [
        set(pair) - {lowest} for pair, value in zip(pairs, adjusted, strict=True) if lowest in pair and value < 0.05
    ]
    return np.isin(np.arange(len(scores)), [rival for pair in shown for rival in pair])


_WORSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "now": lambda scores: shown_worse(scores[:, :, None]),
    "pooled": _pooled_worse,
    "Holm": _holm_worse,
}


def _covers(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def _percent(count: float, of: int) -> str:
    return f"{100 * count / of:.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])
