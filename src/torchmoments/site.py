"""A mixer attached to places of an unmodified model, and the plans that switch it on for a step."""

import contextlib
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchmoments.armed import COMPILED, Armed
from torchmoments.draw import Draw, Plan, Term, check_batch_size, child_generators, compose, move
from torchmoments.features import Layout, prefix_tokens_of, replace_features
from torchmoments.mixers.mixer import Mixer, check_fraction
from torchmoments.modules import find_modules
from torchmoments.partners import Groups
from torchmoments.schedules import Schedule, mixer_of_now

Side = Literal["output", "input"]


def attach(
    model: nn.Module,
    mixer: Mixer,
    at: str | Sequence[str] = "maxpool",
    *,
    side: Side = "output",
    channel_dim: int | None = None,
    prefix_tokens: int | None = None,
    output: int | str | None = None,
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
        channel_dim: 1 for [B, C, *positions], -1 for [B, *positions, C]. Has to be said for features of three axes.
        prefix_tokens: tokens before the image's, in features [B, tokens, C], which stay as they are; read from the
            modules around the place where None.
        output: key or index of the features where the module gives (or takes) a tuple, dict or object.
        schedule: the mixer of each part of the run, by `site.progress`: WarmUp(0.1), OffAtEnd(0.1), or a function
            (mixer, progress from 0 to 1) -> mixer that changes what `draw` decides by, such as p, alpha or lam.
        seed: of the site's own random numbers; torch.initial_seed() where None. The rank is added.

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
        schedule: Schedule | None,
        seed: int | None,
    ) -> None:
        _check_arguments(mixer, side, channel_dim, prefix_tokens, schedule, seed)
        found = find_modules(model, at)
        _check_not_compiled(model, list(found))
        self.model = model
        self.mixer = mixer
        self.schedule = schedule
        self.places = tuple(found)
        self._progress: float | None = None
        self._armed = Armed()
        self._last_plan: Plan | None = None
        self._generator = torch.Generator().manual_seed(_seed_of_rank(seed, self.places))
        self._handles = []
        for name, module in found.items():
            _show_to_compilers(module)
            tokens = prefix_tokens_of(model, name) if prefix_tokens is None else prefix_tokens
            tap = _Tap(name, mixer, Layout(name, channel_dim, tokens), output, self._armed)
            if side == "output":
                self._handles.append(module.register_forward_hook(tap.on_output))
            else:
                self._handles.append(module.register_forward_pre_hook(tap.on_input, with_kwargs=True))

    def __repr__(self) -> str:
        return f"Site({self.mixer!r} at {', '.join(self.places)} of {type(self.model).__name__})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generator": self._generator.get_state(), "_last_plan": None}

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
        self._warn_of_forgotten_labels()
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
        self._last_plan = Plan(complete, on_device, batch_size)
        return self._last_plan

    def _draws(self, batch_size: int, groups: Groups | None) -> dict[str, Draw | None]:
        mixer = mixer_of_now(self.mixer, self.schedule, self._progress)
        if mixer.places_per_step is None:
            return {name: mixer.draw(batch_size, groups=groups, generator=self._generator) for name in self.places}
        draws = [mixer.draw(batch_size, groups=groups, generator=self._generator)]
        for _ in range(min(mixer.places_per_step, len(self.places)) - 1):
            # The coin has been tossed; the other places follow it.
            follower = mixer if mixer.per_sample else mixer.with_p(1.0)
            draws.append(follower.draw(batch_size, groups=groups, generator=self._generator))
        (choice,) = child_generators(self._generator, 1)
        chosen = torch.randperm(len(self.places), generator=choice, device="cpu").tolist()[: len(draws)]
        if draws[0] is None:
            return dict.fromkeys(self.places)
        at = dict(zip(chosen, draws, strict=True))
        return {name: at.get(number) for number, name in enumerate(self.places)}

    def using(self, plan: Plan | None) -> "_Using":
        """`with site.using(plan):` runs forwards with a plan; None runs them plain. Nests, and restores on leaving.

        Raises:
            ValueError: `plan` is no plan.
        RuntimeError: on leaving, a place that the plan mixes did not run.
        """
        if plan is not None and not isinstance(plan, Plan):
            raise ValueError(
                f"using needs a plan of site.draw, or None; got a {type(plan).__name__}. Use site.draw(len(x))."
            )
        return _Using(self, plan)

    def mixing(self, batch_size: int, *, groups: Groups | None = None) -> "_Using":
        """`draw` and `using` in one: `with site.mixing(len(x)) as plan:`."""
        return _Using(self, self._plan(batch_size, groups))

    def detach(self) -> None:
        """Take the mixer off the model. Call it after the last backward."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for place in self.places:
            # The user may have taken the module out since.
            with contextlib.suppress(AttributeError):
                _hide_from_compilers(self.model.get_submodule(place))

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

    def _warn_of_forgotten_labels(self) -> None:
        plan, self._last_plan = self._last_plan, None
        if plan is not None and plan.was_used and plan.mixes_labels and not plan.labels_were_mixed:
            warnings.warn(
                "the features of the last step were mixed, its labels were not. Use torchmoments.mixed_loss(criterion, "
                "output, target, plan), or plan.terms by hand.",
                stacklevel=4,
            )


class _Using:
    def __init__(self, site: Site, plan: Plan | None) -> None:
        self.site = site
        self.plan = plan
        self.before: list[tuple[Any, ...]] = []

    def __enter__(self) -> Plan | None:
        self.before.append(self.site._armed.arm(self.plan, self.site.model))
        if self.plan is not None and not torch.compiler.is_compiling():
            self.plan.was_in_use = True
            # What an earlier block did with the plan says nothing of this one.
            self.plan.was_used, self.plan.met_eval_mode = False, not self.site.model.training
        return self.plan

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        ran = self.site._armed.disarm(self.before.pop())
        if kind is None and self.plan is not None and not torch.compiler.is_compiling():
            self._check_that_places_ran(ran | COMPILED)
            # A compiled forward could not say it itself.
            self.plan.was_used |= self.site.model.training
            self.plan.met_eval_mode |= not self.site.model.training

    def _check_that_places_ran(self, ran: set[str]) -> None:
        assert self.plan is not None
        missing = [name for name, draw in self.plan.draws.items() if not draw.idle and name not in ran]
        if missing:
            raise RuntimeError(
                f"the plan mixes at {', '.join(map(repr, missing))}, which did not run in this block. Likely causes: "
                "the model was compiled before attaching (attach first); a copy of the model was called; its forward "
                "does not reach this module (torchmoments.places(model, x) lists those that run); no forward ran."
            )


class _Tap:
    """The hook at one place. A copy of the model alone carries a tap whose plan never comes: it stays plain."""

    def __init__(self, place: str, mixer: Mixer, layout: Layout, output: int | str | None, armed: Armed) -> None:
        self.place = place
        self.mixer = mixer
        self.layout = layout
        self.output = output
        self.armed = armed

    def on_output(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        draw = self._draw()
        return None if draw is None else replace_features(output, self.output, self.place, lambda x: self._mix(x, draw))

    def on_input(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        draw = self._draw()
        if draw is None:
            return None
        key = 0 if self.output is None else self.output
        if isinstance(key, str):
            return arguments, replace_features(keywords, key, self.place, lambda x: self._mix(x, draw))
        return replace_features(arguments, key, self.place, lambda x: self._mix(x, draw)), keywords

    def _draw(self) -> Draw | None:
        plan = self.armed.plan_for(self.place)
        if plan is None:
            return None
        draw = plan.draws.get(self.place)
        # Compiled code must not look at `idle`: it would need a graph for each place.
        if draw is None or (not torch.compiler.is_compiling() and draw.idle):
            return None
        return draw

    def _mix(self, x: Tensor, draw: Draw) -> Tensor:
        if x.shape[0] != draw.batch_size:
            raise ValueError(
                f"the plan is for {draw.batch_size} samples; the features at {self.place!r} have {x.shape[0]}, shape "
                f"{list(x.shape)}. Use site.draw(len(x)) with the batch that goes through the model."
            )
        if draw.partner.device != x.device:
            draw = draw.to(x.device)
        return self.layout.apply(lambda view: self.mixer(view, draw), x)


def _check_arguments(
    mixer: Any, side: Any, channel_dim: int | None, prefix_tokens: int | None, schedule: Any, seed: int | None
) -> None:
    if not isinstance(mixer, Mixer):
        got = f"the class {mixer.__name__}" if isinstance(mixer, type) else repr(mixer)
        raise ValueError(f"mixer needs a mixer, such as MoEx(); got {got}. Use attach(model, MoEx(p=0.5), at=...).")
    if side not in ("output", "input"):
        raise ValueError(f'side needs "output" or "input"; got {side!r}.')
    if prefix_tokens is not None and (type(prefix_tokens) is not int or prefix_tokens < 0):
        raise ValueError(f"prefix_tokens needs a number of tokens, 0 or more; got {prefix_tokens!r}.")
    if prefix_tokens and channel_dim == 1:
        raise ValueError(
            f"prefix_tokens={prefix_tokens} needs features [B, tokens, C]; got channel_dim=1. Use channel_dim=-1."
        )
    if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
        raise ValueError(
            f"schedule needs a function (mixer, progress) -> mixer; got {schedule!r}. Use WarmUp(0.1) or OffAtEnd(0.1)."
        )
    if seed is not None and type(seed) is not int:
        raise ValueError(f"seed needs a whole number, or None; got {seed!r}.")


def _show_to_compilers(module: nn.Module) -> None:
    """Give the module a `forward` of its own, which is its class's.

    torch.compile shares what it compiled between models of one class. Whether a module has hooks is not among the
    questions it asks first; whether `forward` is the module's own is. Without this, the code of a plain model that was
    compiled earlier would run in place of this one.
    """
    if "forward" not in vars(module):
        module.forward = module.forward


def _hide_from_compilers(module: nn.Module) -> None:
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    own = vars(module).get("forward")
    is_ours = getattr(own, "__func__", None) is type(module).forward and getattr(own, "__self__", None) is module
    if is_ours and not any(isinstance(getattr(hook, "__self__", None), _Tap) for hook in hooks):
        del module.forward


def _seed_of_rank(seed: int | None, places: Sequence[str]) -> int:
    # Several sites of one model without seeds have to differ.
    base = torch.initial_seed() + zlib.crc32("/".join(places).encode()) if seed is None else seed
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
    else:
        rank = int(os.environ.get("RANK", "0"))
    return (base + rank) % 2**63


def _check_not_compiled(model: nn.Module, names: list[str]) -> None:
    # Imported by the first torch.compile; without it there is no compiled model, and its import takes a second.
    compiler = sys.modules.get("torch._dynamo")
    compiled_type = () if compiler is None else compiler.eval_frame.OptimizedModule
    for name in names:
        path = name.split(".")
        for depth in range(len(path) + 1):
            module = model.get_submodule(".".join(path[:depth]))
            if isinstance(module, compiled_type) or getattr(module, "_compiled_call_impl", None) is not None:
                raise ValueError(
                    f"a compiled model ignores what is attached later, and {name!r} is inside one. "
                    "Attach first, then compile: site = attach(model, ...); model = torch.compile(model)."
                )
