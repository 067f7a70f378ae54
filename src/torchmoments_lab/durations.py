"""Spans of time: as a person says them, and what is left of one."""

import time


def about(seconds: float) -> str:
    """An estimate, with the digits that it may claim: about 25 s, about 12 min, about 3.5 h."""
    if seconds < 4:
        return "a few seconds"
    # Rounding must not give 60 s.
    _, step, unit = next(row for row in _STEPS if round(seconds / row[1]) * row[1] < row[0])
    number = round(seconds / step) * step / _UNITS[unit]
    return f"about {number:g} {unit}{'s' if unit == 'day' and number != 1 else ''}"


def exact(seconds: float) -> str:
    """What was measured: 0.9 s, 14 s, 3 min, 1.4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


_UNITS = {"s": 1, "min": 60, "h": 3600, "day": 24 * 3600}
# (below this, in steps of this, in this unit), all in seconds.
_STEPS = (
    (60, 5, "s"),
    (5 * 60, 30, "min"),
    (20 * 60, 60, "min"),
    (90 * 60, 5 * 60, "min"),
    (10 * 3600, 1800, "h"),
    (48 * 3600, 3600, "h"),
    (float("inf"), 24 * 3600, "day"),
)
# Processes start, and runs resume, all at once.
_SECONDS_TO_SETTLE = 2


class Pace:
    """How long the rest of some work takes, at the pace that it has had since it began."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._start: tuple[float, float] | None = None
        self._began: float | None = None

    def left(self, done: float, total: float) -> float | None:
        """Seconds until the end, None if it is too early to tell.

        Args:
            done: of the work so far; what is done at the first call was done in earlier times.
            total: in the same units.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if self._began is None and done > self._first:
            self._began = now
        if self._start is None or self._began is None or now - self._began < _SECONDS_TO_SETTLE:
            self._start = (now, done)
        start, before = self._start
        return (total - done) * (now - start) / (done - before) if done > before else None
