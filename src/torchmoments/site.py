"""A mixer attached to a model, and the plans that activate it for a step."""

import contextlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from torchmoments.active import ActivePlan
from torchmoments.blocks import Masks
from torchmoments.criterion import MixedCriterion
from torchmoments.draw import Plan, check_batch_size
from torchmoments.hook import device_of
from torchmoments.marks import unmark
from torchmoments.outputs import recorded_plan
from torchmoments.partners import Groups
from torchmoments.planner import Planner
from torchmoments.targets import IGNORE_INDEX, Criterion, mixed_accuracy
from torchmoments.torch_internals import run_outside_of_compiled_code
from torchmoments.using import Using

_STATE = {"seed": int, "counter": int}


class Site:
    """A mixer attached to a model, as returned by `attach`."""

    def __init__(
        self,
        model: nn.Module,
        planner: Planner,
        active: ActivePlan,
        handles: list[RemovableHandle],
        automatic: bool,
    ) -> None:
        self.model = model
        self.mixer = planner.mixer
        self.places = planner.places
        self._planner = planner
        self._active = active
        self._handles = handles
        self._automatic = automatic
        self._connect()

    def _connect(self) -> None:
        # Hooks refer to the planner, which does not refer to the site, so they do not keep the model alive.
        self._active.planner = self._planner if self._automatic else None

    def __repr__(self) -> str:
        return f"Site({self.mixer!r} at {', '.join(self.places)} of {type(self.model).__name__})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()

    @property
    def progress(self) -> float | None:
        """The completed fraction of the run, from 0 to 1, passed to the schedule. Set it to epoch / epochs."""
        return self._planner.progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._planner.progress = value

    @property
    def plan(self) -> Plan | None:
        """The plan of the last forward with gradients in this thread, for logging; None if nothing was mixed."""
        return self._active.state.last_plan

    def criterion(self, criterion: Criterion) -> MixedCriterion:
        """Wrap a criterion so that labels are mixed the same way as the features that an output was computed from.

        Args:
            criterion: any callable (output, target) that returns a tensor, as for `mixed_loss`.

        Returns:
            A module called as (output, target). It finds the plan from the output, which is a tensor returned by the
            model, a tensor computed from it, or a tuple, dict or object with such tensors, samples in the order of the
            batch. In eval mode it computes the plain criterion.

        Raises:
            ValueError: the criterion already mixes the labels of a site.
        """
        return MixedCriterion(criterion, self.plan_of)

    def accuracy(self, output: Any, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
        """Compute `mixed_accuracy` with the plan that an output was made with; see `criterion`."""
        return mixed_accuracy(output, target, self.plan_of(output), ignore_index=ignore_index)

    def plan_of(self, output: Any) -> Plan | None:
        """Return the plan that an output was made with, for `mixed_targets` and several sites; None if there was none.

        Raises:
            ValueError: the output contains no tensor.
            RuntimeError: the output is from no forward of this model, or from several with different plans.
        """
        mixes = self.model.training and bool(self._handles)
        return run_outside_of_compiled_code(recorded_plan, output, self._active.name, mixes)

    def draw(self, batch_size: int, *, groups: Groups | None = None) -> Plan | None:
        """Draw at random how one batch is mixed.

        Args:
            batch_size: number of samples B.
            groups: class or domain of each sample, integers [B] or a sequence of names, if the mixer chooses partners
                by group.

        Returns:
            A plan on the model's device; None if nothing is mixed, and always if the model is in eval mode.

        Raises:
            ValueError: batch_size is not an integer; groups are missing or have another length; the schedule changes
                an option that is not drawn.
            RuntimeError: the site is detached, or has a schedule and its progress was never set.
        """
        check_batch_size(batch_size)
        if not self._handles:
            raise RuntimeError(
                "a detached site has nothing to mix; attach the mixer again: torchmoments.attach(model, ...)."
            )
        self._active.state.last_plan = None
        self._planner.warn_about_half_mixed_steps()
        return self._planner.plan(batch_size, groups, device_of(self.model)) if self.model.training else None

    def using(self, plan: Plan | None, *, mask: Masks | None = None) -> Using:
        """Use a plan for the forwards inside `with site.using(plan):`; None turns mixing off. Blocks can be nested.

        Args:
            plan: returned by `draw`, or None.
            mask: [B, *positions] of the features, True or 1 for real positions, such as an attention mask including
                prefix tokens; or {place: mask} if places differ. Padding is excluded from all moments and unchanged.

        Raises:
            ValueError: `plan` is not a plan, or `mask` is not a mask.
            RuntimeError: at the end of the block, if a place that the plan mixes did not run.
        """
        return Using(self._active, self.model, plan, mask)

    def mixing(self, batch_size: int, *, groups: Groups | None = None, mask: Masks | None = None) -> Using:
        """Call `draw` and `using` in one step: `with site.mixing(len(x)) as plan:`."""
        return Using(self._active, self.model, self.draw(batch_size, groups=groups), mask)

    def detach(self) -> None:
        """Remove the mixer from the model. Call it after the last backward; calling it again does nothing."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._active.forget()
        for place in self.places:
            # The user may have removed the module since.
            with contextlib.suppress(AttributeError):
                unmark(self.model.get_submodule(place))

    def state_dict(self) -> dict[str, int]:
        """Return the state of the site's random numbers, for resuming. It is the same on all ranks."""
        return {"seed": self._planner.seed, "counter": self._planner.counter}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore the random number state from `state_dict`; each rank continues with its own numbers.

        Raises:
            ValueError: `state` is not the state of a site.
        """
        if not isinstance(state, Mapping) or {name: type(number) for name, number in state.items()} != _STATE:
            raise ValueError(
                f"a site's state has a whole number 'seed' and a 'counter'; got {state!r:.80}. Use what "
                "site.state_dict() returned."
            )
        self._planner.seed, self._planner.counter = state["seed"], state["counter"]
