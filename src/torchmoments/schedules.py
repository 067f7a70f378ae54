"""How a mixer changes over a run: functions (mixer, progress) -> mixer, with progress from 0 to 1.

Coins come from a stream of their own, so a schedule of p mixes some of the batches that the mixer alone would mix, with
the same partners.
"""

import dataclasses
from collections.abc import Callable

from torchmoments.mixers.mixer import Mixer, check_fraction

Schedule = Callable[[Mixer, float], Mixer]


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """p grows evenly from 0 over the first `part` of the run, and stays."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress >= self.part else mixer.with_p(mixer.p * progress / self.part)


@dataclasses.dataclass(frozen=True)
class OffAtEnd:
    """Nothing is mixed in the last `part` of the run: the last epochs see the data as they are."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress < 1 - self.part else mixer.with_p(0.0)


def mixer_of_now(mixer: Mixer, schedule: Schedule | None, progress: float | None) -> Mixer:
    """The mixer at this point of the run, the mixer itself without a schedule.

    Raises:
        RuntimeError: the progress is not known.
        ValueError: the schedule gives another method, or changes what is not drawn.
    """
    if schedule is None:
        return mixer
    if progress is None:
        raise RuntimeError(
            "a schedule needs to know how much of the run is done; site.progress was never set. "
            "Use site.progress = epoch / epochs before each epoch."
        )
    now = schedule(mixer, progress)
    if type(now) is not type(mixer):
        raise ValueError(
            f"a schedule needs to give a {type(mixer).__name__} again; got a {type(now).__name__}. "
            "Use dataclasses.replace(mixer, p=...)."
        )
    changed = [name for name, value in vars(now).items() if value != getattr(mixer, name)]
    fixed = [name for name in changed if name not in mixer.drawn_by]
    if fixed:
        raise ValueError(
            f"a schedule changes what is drawn ({', '.join(mixer.drawn_by)}); it changed {', '.join(fixed)}. "
            "Attach a mixer of its own for that."
        )
    return now
