"""Changing a mixer over a run: functions (mixer, progress) -> mixer, with progress from 0 to 1.

Coins come from a separate stream, so a schedule of p mixes a subset of the batches that the mixer alone would mix, with
the same partners.
"""

import dataclasses
from collections.abc import Callable

from torchmoments.mixers.mixer import Mixer, check_fraction

Schedule = Callable[[Mixer, float], Mixer]


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """Increase p linearly from 0 over the first fraction `part` of the run; after that, p is constant."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress >= self.part else mixer.with_p(mixer.p * progress / self.part)


@dataclasses.dataclass(frozen=True)
class OffAtEnd:
    """Mix nothing in the last fraction `part` of the run, so that the last epochs see unmixed data."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress < 1 - self.part else mixer.with_p(0.0)


def scheduled_mixer(mixer: Mixer, schedule: Schedule | None, progress: float | None) -> Mixer:
    """Return the mixer at this point of the run; without a schedule, the mixer itself.

    Raises:
        RuntimeError: the progress was never set.
        ValueError: the schedule returns another method, or changes an option that is not drawn.
    """
    if schedule is None:
        return mixer
    if progress is None:
        raise RuntimeError(
            "a schedule needs the progress of the run; site.progress was never set. "
            "Use site.progress = epoch / epochs before each epoch."
        )
    now = schedule(mixer, progress)
    if type(now) is not type(mixer):
        raise ValueError(
            f"a schedule needs to return a {type(mixer).__name__} again; got a {type(now).__name__}. "
            "Use dataclasses.replace(mixer, p=...)."
        )
    changed = [name for name, value in vars(now).items() if value != getattr(mixer, name)]
    fixed = [name for name in changed if name not in mixer.draw_options]
    if fixed:
        raise ValueError(
            f"a schedule may change only options that are drawn ({', '.join(mixer.draw_options)}); it changed "
            f"{', '.join(fixed)}. Attach another mixer for that."
        )
    return now
