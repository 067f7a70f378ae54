"""A mixer attached to a model, and the plans that switch it on for a step."""

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
from torchmoments.outputs import noted_plan
from torchmoments.partners import Groups
from torchmoments.planner import Planner
from torchmoments.targets import IGNORE_INDEX, Criterion, mixed_accuracy
from torchmoments.torch_internals import run_outside_of_compiled_code
from torchmoments.using import Using

_STATE = {"seed": int, "counter": int}


class Site:
    """A mixer attached to a model; made by `attach`."""

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
        # Hooks know the planner, which does not know the site: so they do not keep the model alive.
        self._active.planner = self._planner if self._automatic else None

    def __repr__(self) -> str:
        return f"Site({self.mixer!r} at {', '.join(self.places)} of {type(self.model).__name__})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()

    @property
    def progress(self) -> float | None:
        """How much of the run is done, from 0 to 1, which a schedule goes by. Set it as epoch / epochs."""
        return self._planner.progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._planner.progress = value

    @property
    def plan(self) -> Plan | None:
        """The plan of the last forward with gradients in this thread, for what is logged; None if it was plain."""
        return self._active.here.last

    def criterion(self, criterion: Criterion) -> MixedCriterion:
        """The criterion with the labels mixed as the features were that an output was made of.

        Args:
            criterion: any callable (output, target) that returns a tensor, as for `mixed_loss`.

        Returns:
            A module (output, target). The plan is found by the output: a tensor that the model gave, what was computed
            of it, or a tuple, dict or object with such tensors, its samples in the order of the batch. In eval mode it
            is the criterion itself.

        Raises:
            ValueError: it mixes the labels of a site already.
        """
        return MixedCriterion(criterion, self.plan_of)

    def accuracy(self, output: Any, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
        """`mixed_accuracy` by the plan that an output was made with; see `criterion`."""
        return mixed_accuracy(output, target, self.plan_of(output), ignore_index=ignore_index)

    def plan_of(self, output: Any) -> Plan | None:
        """The plan that an output was made with, for `mixed_targets` and several sites; None: with none.

        Raises:
            ValueError: the output has no tensor.
            RuntimeError: no forward of this model made it, or several with different plans.
        """
        mixes = self.model.training and bool(self._handles)
        return run_outside_of_compiled_code(noted_plan, output, self._active.name, mixes)

    def draw(self, batch_size: int, *, groups: Groups | None = None) -> Plan | None:
        """Decide by chance what happens to one batch.

        Args:
            batch_size: number of samples B.
            groups: class or domain of each sample, integers [B] or a sequence of names, for a mixer whose partners come
                from another or the same one.

        Returns:
            A plan on the model's device; None where nothing is mixed, and always while the model is in eval mode.

        Raises:
            ValueError: batch_size is no whole number; groups are missing or of another length; the schedule changes
                what is not drawn.
            RuntimeError: the site is detached, or has a schedule and does not know its progress.
        """
        check_batch_size(batch_size)
        if not self._handles:
            raise RuntimeError(
                "a detached site has nothing to mix; attach the mixer again: torchmoments.attach(model, ...)."
            )
        self._active.here.last = None
        self._planner.warn_of_half_mixed_steps()
        return self._planner.plan(batch_size, groups, device_of(self.model)) if self.model.training else None

    def using(self, plan: Plan | None, *, mask: Masks | None = None) -> Using:
        """`with site.using(plan):` runs forwards with a plan; None runs them plain. Nests, and restores on leaving.

        Args:
            plan: of `draw`, or None.
            mask: [B, *positions] of the features, True or 1 for what is no padding, such as an attention mask with its
                prefix tokens; or {place: mask} if places differ. Padding enters no moment and passes unchanged.

        Raises:
            ValueError: `plan` is no plan, or `mask` no mask.
            RuntimeError: on leaving, a place that the plan mixes did not run.
        """
        return Using(self._active, self.model, plan, mask)

    def mixing(self, batch_size: int, *, groups: Groups | None = None, mask: Masks | None = None) -> Using:
        """`draw` and `using` in one: `with site.mixing(len(x)) as plan:`."""
        return Using(self._active, self.model, self.draw(batch_size, groups=groups), mask)

    def detach(self) -> None:
        """Take the mixer off the model. Call it after the last backward; a second call does nothing."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._active.forget()
        for place in self.places:
            # The user may have taken the module out since.
            with contextlib.suppress(AttributeError):
                unmark(self.model.get_submodule(place))

    def state_dict(self) -> dict[str, int]:
        """The state of the site's random numbers, for resuming. It is the same on all ranks."""
        return {"seed": self._planner.seed, "counter": self._planner.counter}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on with the random numbers where `state_dict` was taken; each rank with its own.

        Raises:
            ValueError: it is not the state of a site.
        """
        if not isinstance(state, Mapping) or {name: type(number) for name, number in state.items()} != _STATE:
            raise ValueError(
                f"a site's state has a whole number 'seed' and a 'counter'; got {state!r:.80}. Use what "
                "site.state_dict() gave."
            )
        self._planner.seed, self._planner.counter = state["seed"], state["counter"]
