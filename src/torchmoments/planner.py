"""Drawing plans for all places of a site, independently of the model."""

import weakref
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from torchmoments.draw import Draw, Plan, Term, Use, check_batch_size, child_generators, compose, move
from torchmoments.mixers.mixer import Mixer, check_fraction
from torchmoments.partners import Groups
from torchmoments.ranks import GLOBAL, changed_index, shares_of_ranks
from torchmoments.schedules import Schedule, scheduled_mixer
from torchmoments.streams import rank_of_this_process, stream
from torchmoments.warn import warn


class Planner:
    """Draws plans with its own random numbers, which are a function of (seed, counter, rank)."""

    def __init__(self, mixer: Mixer, places: Sequence[str], schedule: Schedule | None, seed: int | None) -> None:
        self.mixer = mixer
        self.places = tuple(places)
        self.schedule = schedule
        self._progress: float | None = None
        # Sites of the same model without a seed have to differ.
        self.seed = torch.initial_seed() + zlib.crc32("/".join(places).encode()) if seed is None else seed
        self.counter = 0
        # Plans that mix labels, while features or labels can still be mixed with them.
        self._watched: list[tuple[weakref.ref[Plan], Use]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_watched": []}

    @property
    def progress(self) -> float | None:
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        check_fraction("progress", value)
        self._progress = value

    def plan(self, batch_size: int, groups: Groups | None, device: torch.device) -> Plan | None:
        """Draw a plan for one batch; returns None if nothing is mixed.

        Raises:
            ValueError: see `Site.draw`.
        """
        check_batch_size(batch_size)
        mixer = scheduled_mixer(self.mixer, self.schedule, self._progress)
        generator = stream(self.seed, self.counter, 0 if mixer.partner == GLOBAL else rank_of_this_process())
        # Once for all places.
        shares = shares_of_ranks(batch_size, generator) if mixer.partner == GLOBAL else None
        if shares is None:
            draws = self._draws(mixer, batch_size, groups, generator)
        else:
            whole = self._draws(mixer.in_one_process(), sum(shares.sizes), None, generator)
            draws = {name: None if draw is None else draw.of_rank(shares) for name, draw in whole.items()}
        self.counter += 1
        drawn = [draw for draw in draws.values() if draw is not None]
        if not drawn:
            return None
        terms: list[Term] = [(None, 1.0)]
        for draw in drawn:
            terms = compose(terms, draw.terms)
        # Idle places get a draw too, so a compiler sees the same tensors whichever place is mixed.
        complete = {name: (draw or drawn[0].idle_copy()).to(device) for name, draw in draws.items()}
        to_device = partial(move, device=device)
        on_device = [(None if p is None else changed_index(p, to_device), w) for p, w in terms]
        plan = Plan(complete, on_device, batch_size)
        if plan.mixes_labels:
            self._watched.append((weakref.ref(plan), plan.use))
        return plan

    def _draws(
        self, mixer: Mixer, batch_size: int, groups: Groups | None, generator: torch.Generator
    ) -> dict[str, Draw | None]:
        number = 1 if mixer.mixes_labels else mixer.places_per_step
        if number is None:
            return {name: mixer.draw(batch_size, groups=groups, generator=generator) for name in self.places}
        draws = [mixer.draw(batch_size, groups=groups, generator=generator)]
        for _ in range(min(number, len(self.places)) - 1):
            # The coin has been flipped; the other places follow it.
            follower = mixer if mixer.per_sample else mixer.with_p(1.0)
            draws.append(follower.draw(batch_size, groups=groups, generator=generator))
        (choice,) = child_generators(generator, 1)
        chosen = torch.randperm(len(self.places), generator=choice, device="cpu").tolist()[: len(draws)]
        if draws[0] is None:
            return dict.fromkeys(self.places)
        at = dict(zip(chosen, draws))  # noqa: B905  torch 2.6 compiles no strict=True
        return {name: at.get(number) for number, name in enumerate(self.places)}

    def warn_about_half_mixed_steps(self) -> None:
        """Warn about deleted plans with which only features or only labels were mixed."""
        gone = [use for plan, use in self._watched if plan() is None]
        self._watched = [(plan, use) for plan, use in self._watched if plan() is not None]
        if any(use.features_were_mixed and not use.labels_were_mixed for use in gone):
            warn(
                "the features of an earlier step were mixed, but its labels were not. Use "
                "`criterion = site.criterion(criterion)`, or torchmoments.mixed_loss(criterion, output, target, plan). "
                "A model that is given labels computes its own loss: pass the labels to the criterion instead."
            )
        if any(use.labels_were_mixed and not use.features_were_mixed for use in gone):
            warn(
                "the labels of an earlier step were mixed, but its features were not. Run the model inside "
                "`with site.using(plan):`."
            )
