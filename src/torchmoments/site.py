"""A mixer attached to places of an unmodified model, and the plans that switch it on for a step."""

import contextlib
import os
import warnings
import weakref
import zlib
from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from torchmoments.active import ActivePlan, Calls
from torchmoments.blocks import Masks
from torchmoments.channels import Side
from torchmoments.draw import Draw, Plan, Term, Use, check_batch_size, child_generators, compose, move
from torchmoments.features import layout_of
from torchmoments.hook import ModelHook, PlaceHook
from torchmoments.marks import mark, unmark
from torchmoments.mixers.mixer import Mixer, check_fraction
from torchmoments.modules import find_modules
from torchmoments.partners import Groups
from torchmoments.schedules import Schedule, mixer_of_now
from torchmoments.torch_internals import is_compiled
from torchmoments.using import Using


def attach(
    model: nn.Module,
    mixer: Mixer,
    at: str | Sequence[str] = "maxpool",
    *,
    side: Side = "output",
    channel_dim: int | None = None,
    prefix_tokens: int | None = None,
    output: int | str | None = None,
    calls: Calls | None = None,
    schedule: Schedule | None = None,
    seed: int | None = None,
) -> "Site":
    """Attach a mixer to places of a model, which stays as it is.

    Nothing changes until a plan is in use: `with site.mixing(len(x)) as plan:`. In eval mode (of `model`) nothing
    is mixed.

    Args:
        model: any model. Its parameters and state_dict keys do not change. Attach before compiling.
        mixer: such as MoEx().
        at: name of a module, several, or a glob ("layer*"); see `torchmoments.places(model)`.
        side: mix what the module gives ("output") or what it takes ("input").
        channel_dim: 1 for [B, C, *positions], -1 for [B, *positions, C]; None: read from the modules at and around the
            place. Has to be said if they do not tell.
        prefix_tokens: tokens before the image's, in features [B, tokens, C], which stay as they are; None: read from
            the modules around the place.
        output: key or index of the features if the module gives (or takes) a tuple, dict or object.
        calls: which of its calls are mixed if the module runs several times in one forward of the model: "first",
            "all", or an index from 0.
        schedule: the mixer of each part of the run, by `site.progress`: WarmUp(0.1), OffAtEnd(0.1), or a function
            (mixer, progress from 0 to 1) -> mixer that changes what `draw` decides by, such as p, alpha or lam.
        seed: of the site's own random numbers; torch.initial_seed() if None. The rank is added.

    Raises:
        ValueError: no module has such a name, the model is compiled already, or an argument is outside its range.
    """
    return Site(
        model,
        mixer,
        at,
        side=side,
        channel_dim=channel_dim,
        prefix_tokens=prefix_tokens,
        output=output,
        calls=calls,
        schedule=schedule,
        seed=seed,
    )


class Site:
    """A mixer attached to a model; made by `attach`."""

    def __init__(
        self,
        model: nn.Module,
        mixer: Mixer,
        at: str | Sequence[str],
        *,
        side: Side,
        channel_dim: int | None,
        prefix_tokens: int | None,
        output: int | str | None,
        calls: Calls | None,
        schedule: Schedule | None,
        seed: int | None,
    ) -> None:
        _check_arguments(mixer, side, channel_dim, prefix_tokens, calls, schedule, seed)
        found = find_modules(model, at)
        _check_not_compiled(model, list(found))
        _check_not_scripted(found)
        self.model = model
        self.mixer = mixer
        self.schedule = schedule
        self.places = tuple(found)
        self._progress: float | None = None
        self._active = ActivePlan(self.places)
        # Plans that mix labels, as long as features or labels may still be mixed by them.
        self._plans: list[tuple[weakref.ref[Plan], Use]] = []
        self._generator = torch.Generator().manual_seed(_seed_of_rank(seed, self.places))
        self._handles = []
        for name, module in found.items():
            layout = layout_of(model, name, side, channel_dim=channel_dim, prefix_tokens=prefix_tokens)
            self._attach(module, PlaceHook(name, mixer, layout, output, calls, self._active), side)
        of_model = ModelHook(self._active)
        self._handles.append(model.register_forward_pre_hook(of_model.before))
        self._handles.append(model.register_forward_hook(of_model.after, always_call=True))

    def _attach(self, module: nn.Module, hook: PlaceHook, side: Side) -> None:
        mark(module)
        if side == "output":
            self._handles.append(module.register_forward_hook(hook.on_output))
        else:
            self._handles.append(module.register_forward_pre_hook(hook.on_input, with_kwargs=True))

    def __repr__(self) -> str:
        return f"Site({self.mixer!r} at {', '.join(self.places)} of {type(self.model).__name__})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generator": self._generator.get_state(), "_plans": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._generator = torch.Generator()
        self._generator.set_state(state["_generator"])

    @property
    def progress(self) -> float | None:
        """How much of the run is done, from 0 to 1, which a schedule goes by. Set it as epoch / epochs."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        check_fraction("progress", value)
        self._progress = value

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
        return self._plan(batch_size, groups)

    def _plan(self, batch_size: int, groups: Groups | None) -> Plan | None:
        check_batch_size(batch_size)
        if not self._handles:
            raise RuntimeError(
                "a detached site has nothing to mix; attach the mixer again: torchmoments.attach(model, ...)."
            )
        self._warn_of_half_mixed_steps()
        if not self.model.training:
            return None
        draws = self._draws(batch_size, groups)
        drawn = [draw for draw in draws.values() if draw is not None]
        if not drawn:
            return None
        terms: list[Term] = [(None, 1.0)]
        for draw in drawn:
            terms = compose(terms, draw.terms)
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        # Idle places get a draw too: a compiler then sees the same tensors whichever place is mixed.
        complete = {name: (draw or drawn[0].idle_copy()).to(device) for name, draw in draws.items()}
        on_device = [(None if p is None else move(p, device), w) for p, w in terms]
        plan = Plan(complete, on_device, batch_size)
        if plan.mixes_labels:
            self._plans.append((weakref.ref(plan), plan.use))
        return plan

    def _draws(self, batch_size: int, groups: Groups | None) -> dict[str, Draw | None]:
        mixer = mixer_of_now(self.mixer, self.schedule, self._progress)
        number = 1 if mixer.mixes_labels else mixer.places_per_step
        if number is None:
            return {name: mixer.draw(batch_size, groups=groups, generator=self._generator) for name in self.places}
        draws = [mixer.draw(batch_size, groups=groups, generator=self._generator)]
        for _ in range(min(number, len(self.places)) - 1):
            # The coin has been tossed; the other places follow it.
            follower = mixer if mixer.per_sample else mixer.with_p(1.0)
            draws.append(follower.draw(batch_size, groups=groups, generator=self._generator))
        (choice,) = child_generators(self._generator, 1)
        chosen = torch.randperm(len(self.places), generator=choice, device="cpu").tolist()[: len(draws)]
        if draws[0] is None:
            return dict.fromkeys(self.places)
        at = dict(zip(chosen, draws))  # noqa: B905  torch 2.6 compiles no strict=True
        return {name: at.get(number) for number, name in enumerate(self.places)}

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
        return Using(self._active, self.model, self._plan(batch_size, groups), mask)

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

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the site's random numbers, for resuming."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with the random numbers where `state_dict` was taken.

        Raises:
            ValueError: it is not the state of a site.
        """
        if "generator" not in state:
            raise ValueError(f"a site's state has a 'generator'; got {sorted(state)}. Use what site.state_dict() gave.")
        self._generator.set_state(state["generator"].cpu())

    def _warn_of_half_mixed_steps(self) -> None:
        """Of plans that are gone: what was not mixed by them will not be any more."""
        gone = [use for plan, use in self._plans if plan() is None]
        self._plans = [(plan, use) for plan, use in self._plans if plan() is not None]
        if any(use.features_were_mixed and not use.labels_were_mixed for use in gone):
            warnings.warn(
                "the features of an earlier step were mixed, its labels were not. Use torchmoments.mixed_loss("
                "criterion, output, target, plan), or plan.terms by hand.",
                stacklevel=4,
            )
        if any(use.labels_were_mixed and not use.features_were_mixed for use in gone):
            warnings.warn(
                "the labels of an earlier step were mixed, its features were not. Run the model inside "
                "`with site.using(plan):`.",
                stacklevel=4,
            )


def _check_arguments(
    mixer: Any,
    side: Any,
    channel_dim: int | None,
    prefix_tokens: int | None,
    calls: Any,
    schedule: Any,
    seed: int | None,
) -> None:
    if not isinstance(mixer, Mixer):
        got = f"the class {mixer.__name__}" if isinstance(mixer, type) else repr(mixer)
        raise ValueError(f"mixer needs a mixer, such as MoEx(); got {got}. Use attach(model, MoEx(p=0.5), at=...).")
    if side not in get_args(Side):
        raise ValueError(f'side needs "output" or "input"; got {side!r}.')
    if prefix_tokens is not None and (type(prefix_tokens) is not int or prefix_tokens < 0):
        raise ValueError(f"prefix_tokens needs a number of tokens, 0 or more; got {prefix_tokens!r}.")
    if prefix_tokens and channel_dim == 1:
        raise ValueError(
            f"prefix_tokens={prefix_tokens} needs features [B, tokens, C]; got channel_dim=1. Use channel_dim=-1."
        )
    if calls not in (None, "first", "all") and (type(calls) is not int or calls < 0):
        raise ValueError(f'calls needs "first", "all", or an index from 0; got {calls!r}.')
    if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
        raise ValueError(
            f"schedule needs a function (mixer, progress) -> mixer; got {schedule!r}. Use WarmUp(0.1) or OffAtEnd(0.1)."
        )
    if seed is not None and type(seed) is not int:
        raise ValueError(f"seed needs a whole number, or None; got {seed!r}.")


def _seed_of_rank(seed: int | None, places: Sequence[str]) -> int:
    # Several sites of one model without seeds have to differ.
    base = torch.initial_seed() + zlib.crc32("/".join(places).encode()) if seed is None else seed
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
    else:
        rank = int(os.environ.get("RANK", "0"))
    return (base + rank) % 2**63


def _check_not_scripted(modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{name!r} is compiled by torch.jit, where nothing can be attached. Attach to the model that was given "
                "to torch.jit.script or torch.jit.trace."
            )


def _check_not_compiled(model: nn.Module, names: list[str]) -> None:
    for name in names:
        path = name.split(".")
        if any(is_compiled(model.get_submodule(".".join(path[:depth]))) for depth in range(len(path) + 1)):
            raise ValueError(
                f"a compiled model ignores what is attached later, and {name!r} is inside one. "
                "Attach first, then compile: site = attach(model, ...); model = torch.compile(model)."
            )
