"""How a mixer changes over a run: functions (mixer, progress) -> mixer, with progress from 0 to 1.

Coins come from a stream of their own, so a schedule of p mixes some of the batches that the mixer alone would mix, with
the same partners.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from torchmoments.mixers.mixer import Mixer, check_fraction

Schedule = Callable[[Mixer, float], Mixer]


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """p grows evenly from 0 over the first `part` of the run, and stays."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress >= self.part else _with_p(mixer, mixer.p * progress / self.part)


@dataclasses.dataclass(frozen=True)
class OffAtEnd:
    """Nothing is mixed in the last `part` of the run: the last epochs see the data as they are."""

    part: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("part", self.part)

    def __call__(self, mixer: Mixer, progress: float) -> Mixer:
        return mixer if progress < 1 - self.part else _with_p(mixer, 0.0)


def _with_p(mixer: Mixer, p: float) -> Mixer:
    mixer_as_dataclass: Any = mixer
    changed: Mixer = dataclasses.replace(mixer_as_dataclass, p=p)
    return changed
