"""The context manager that activates a plan."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.active import ActivePlan
from torchmoments.blocks import Block, Masks
from torchmoments.draw import Plan


class Using:
    """A context manager in which forwards of the model follow a plan; returned by `site.using` and `site.mixing`."""

    def __init__(self, active: ActivePlan, model: nn.Module, plan: Plan | None, mask: Masks | None) -> None:
        if plan is not None and not isinstance(plan, Plan):
            raise ValueError(
                f"using needs a plan of site.draw, or None; got a {type(plan).__name__}. Use site.draw(len(x))."
            )
        _check_mask(mask, active.places)
        self.active = active
        self.model = model
        self.plan = plan
        self.mask = mask
        self.before: list[tuple[tuple[Any, ...], Block | None]] = []

    def __enter__(self) -> Plan | None:
        self.before.append(self.active.enter(self.plan, self.mask, self.model))
        if self.plan is not None and not torch.compiler.is_compiling():
            use = self.plan.use
            # What an earlier block did with the plan does not count for this one.
            use.features_were_mixed, use.ran_in_eval = False, not self.model.training
        return self.plan

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        ran = self.active.leave(*self.before.pop())
        if self.plan is None or torch.compiler.is_compiling():
            return
        if kind is not None:
            # The step was aborted, so its labels need not be mixed.
            self.plan.use.features_were_mixed = self.plan.use.labels_were_mixed = False
        else:
            mixed = {name for name, draw in self.plan.draws.items() if not draw.idle}
            self._check_that_places_ran(mixed - ran)
            if mixed & self.active.compiled_in_checkpoints:
                # Such places cannot record it themselves.
                self.plan.use.features_were_mixed |= self.model.training

    def _check_that_places_ran(self, missing: set[str]) -> None:
        if missing:
            raise RuntimeError(
                f"the plan mixes at {', '.join(map(repr, sorted(missing)))}, which did not run. Likely "
                "causes: the model was compiled before attaching (attach first); a copy of the model was called; its "
                "forward does not reach this module, or not in the call that calls= selects (torchmoments."
                "places(model, x) lists those that run, and how often); no forward ran."
            )


def _check_mask(mask: Masks | None, places: Sequence[str]) -> None:
    if mask is not None and not isinstance(mask, Tensor | dict):
        raise ValueError(
            f"mask needs a tensor [B, *positions], or a dict of one for each place; got a {type(mask).__name__}."
        )
    if isinstance(mask, dict) and set(mask) != set(places):
        raise ValueError(
            f"mask needs a tensor for each place, {', '.join(map(repr, places))}; got {', '.join(map(repr, mask))}. "
            "Write None for a place without padding."
        )
