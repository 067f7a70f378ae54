"""How many runs there are, or may become."""

from dataclasses import dataclass, field

from torchmoments_lab.statistics.values import LEAST_SEEDS
from torchmoments_lab.typed import Settings, at_least

# A run of each for a year, and a record with more is damaged.
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class RunSettings(Settings):
    """How many runs there are."""

    seeds: int = 20
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches; runs of
    one seed are paired. Intervals need three."""

    def check(self) -> None:
        at_least(1, "seeds", self.seeds, "seed")


@dataclass(frozen=True)
class PlannedRuns(Settings):
    """How many runs there are, or may become."""

    seeds: int | str = field(default=20, metadata={"metavar": "INT|INT..INT"})
    """Runs of each method. A seed draws the training images, the initial weights and the order of the batches; runs of
    one seed are paired. Intervals need three. 10..40: looks at the results after 10, 20 and 40 seeds, and stops as soon
    as every comparison is decided, or hopeless; intervals and p count these looks."""
    looks: tuple[int, ...] = ()
    """Other numbers of seeds to look at, with --seeds 10..40: 10 25 40."""
    stop_at: float | None = None
    """Points. A smaller difference does not matter: a comparison is decided, too, if the interval is within it."""

    def check(self) -> None:
        if self.stop_at is not None and not 0 < self.stop_at <= 100:
            raise ValueError(
                f"stop_at needs points above 0, up to 100; got {self.stop_at}. Write --stop-at 0.3, for example."
            )
        if isinstance(self.seeds, int):
            at_least(1, "seeds", self.seeds, "seed")
        if self.plan()[-1] > MOST_SEEDS:
            raise ValueError(f"seeds needs at most {MOST_SEEDS:,}; got {self.seeds}. Write --seeds 20, for example.")

    def plan(self) -> tuple[int, ...]:
        """The numbers of seeds at which results are looked at; the last is how many there may be.

        Raises:
            ValueError: a range that is none, or looks beyond it.
        """
        text = str(self.seeds)
        first, dots, last = (part.strip() for part in text.partition(".."))
        ends = [int(end) for end in (first, last) if end.isdecimal() and len(end) < 10]
        if not dots and ends and ends[0] >= 1:
            if self.looks:
                raise ValueError(
                    f"looks needs a range of seeds; got --seeds {text}. Write --seeds 10..40, or leave it out."
                )
            return (ends[0],)
        if len(ends) < 2 or not LEAST_SEEDS <= ends[0] < ends[1]:
            raise ValueError(
                f"seeds needs a number, or a range from {LEAST_SEEDS} or more upwards; got {text!r}. Write --seeds 20, "
                "or 10..40."
            )
        if not self.looks:
            return doubling(*ends)
        if list(self.looks) != sorted(set(self.looks)) or self.looks[0] < ends[0] or self.looks[-1] > ends[1]:
            raise ValueError(
                f"looks needs rising numbers from {ends[0]} to {ends[1]}; got {' '.join(map(str, self.looks))}. Write "
                f"--looks {' '.join(map(str, doubling(*ends)))}."
            )
        return tuple(sorted({*self.looks, ends[1]}))


def doubling(first: int, last: int) -> tuple[int, ...]:
    """first, twice that, ... and last: 10, 20, 40."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return (*found, last)
