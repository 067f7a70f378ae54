"""Attaching a mixer to an unmodified model."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import nn

from torchmoments.active import ActivePlan, Calls
from torchmoments.channels import Side
from torchmoments.features import layout_of
from torchmoments.hook import MaskSource, ModelHook, PlaceHook
from torchmoments.marks import mark
from torchmoments.mixers.mixer import Mixer
from torchmoments.modules import find_modules
from torchmoments.planner import Planner
from torchmoments.schedules import Schedule
from torchmoments.site import Site
from torchmoments.torch_internals import is_compiled
from torchmoments.warn import warn


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
    automatic: bool = True,
    mask: MaskSource | None = None,
) -> Site:
    """Attach a mixer to places of a model, without changing the model.

    Each training forward of the model draws its own plan; a training forward is one in train mode of `model`, with
    gradients enabled, that is not a recomputation. `criterion = site.criterion(criterion)` mixes the labels
    accordingly. Inside `with site.using(plan):` and `with site.mixing(len(x)) as plan:` that plan is used instead. In
    eval mode (of `model`) nothing is mixed.

    Args:
        model: any model. Its parameters and state_dict keys do not change. Attach before compiling.
        mixer: the method, such as MoEx().
        at: the name of a module, several names, or a glob ("layer*"); see `torchmoments.places(model)`.
        side: whether the output or the input of the module is mixed.
        channel_dim: 1 for [B, C, *positions], -1 for [B, *positions, C]; None: inferred from the modules at and around
            the place. Required if it cannot be inferred.
        prefix_tokens: number of tokens in front of the image's tokens, in features [B, tokens, C], that are not mixed;
            None: inferred from the modules around the place.
        output: key or index of the features if the module's output (or input) is a tuple, dict or object.
        calls: which calls are mixed if the module runs several times in one forward of the model: "first", "all", or an
            index from 0.
        schedule: changes the mixer over the run, by `site.progress`: WarmUp(0.1), OffAtEnd(0.1), or a function
            (mixer, progress from 0 to 1) -> mixer that changes options used by `draw`, such as p, alpha or lam.
        seed: for the site's own random numbers; torch.initial_seed() if None. Each rank of a process group gets
            different numbers, unless the mixer has partner="global", which needs the same seed on all of them.
        automatic: if False, nothing is mixed outside `using` and `mixing`.
        mask: how to find the padding mask in an automatic draw: the name of an argument of the model, such as
            "attention_mask", or a function of all its arguments that returns a mask as for `using`.

    Returns:
        The site, which draws plans, mixes labels and can be detached.

    Raises:
        ValueError: no module has that name, the model is already compiled, or an argument is invalid.
    """
    _check_arguments(mixer, side, channel_dim, prefix_tokens, calls, schedule, seed, automatic, mask)
    _check_not_compiled(model, "")
    modules = find_modules(model, at)
    active = ActivePlan(tuple(modules))
    hooks = {}
    for name, module in modules.items():
        _check_not_compiled(model, name)
        _check_not_scripted(name, module)
        layout = layout_of(model, name, side, channel_dim=channel_dim, prefix_tokens=prefix_tokens)
        hooks[name] = PlaceHook(name, mixer, layout, output, calls, active)
    # No error is raised from here on, so an error leaves the model unchanged.
    handles = []
    for name, module in modules.items():
        if mark(module) > 1:
            warn(
                f"{name!r} already has the mixer of another site, and both mix there. Call detach() of the other site "
                "first, if this line ran twice."
            )
        if side == "output":
            handles.append(module.register_forward_hook(hooks[name].on_output))
        else:
            handles.append(module.register_forward_pre_hook(hooks[name].on_input, with_kwargs=True))
    of_model = ModelHook(active, mask)
    handles.append(model.register_forward_pre_hook(of_model.before, with_kwargs=True))
    handles.append(model.register_forward_hook(of_model.after, always_call=True))
    return Site(model, Planner(mixer, active.places, schedule, seed), active, handles, automatic)


def _check_arguments(
    mixer: Any,
    side: Any,
    channel_dim: int | None,
    prefix_tokens: int | None,
    calls: Any,
    schedule: Any,
    seed: int | None,
    automatic: Any,
    mask: Any,
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
    if type(automatic) is not bool:
        raise ValueError(f"automatic needs True or False; got {automatic!r}.")
    if mask is not None and not isinstance(mask, str) and not callable(mask):
        raise ValueError(
            f"mask needs the name of an argument of the model, or a function of its arguments; got a "
            f"{type(mask).__name__}. A mask of one batch goes to site.using(plan, mask=...)."
        )
    if mask is not None and not automatic:
        raise ValueError("mask needs automatic=True; got automatic=False. Use site.using(plan, mask=...) instead.")


def _check_not_scripted(name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name!r} is compiled by torch.jit, where nothing can be attached. Attach to the model that was given to "
            "torch.jit.script or torch.jit.trace."
        )


def _check_not_compiled(model: nn.Module, name: str) -> None:
    """Raise ValueError if a module of the model, or any module that contains it, is compiled."""
    path = name.split(".") if name else []
    if any(is_compiled(model.get_submodule(".".join(path[:depth]))) for depth in range(len(path) + 1)):
        place = f"{name!r} is inside one" if name else "this model is one"
        raise ValueError(
            f"a compiled model ignores what is attached later, and {place}. "
            "Attach first, then compile: site = attach(model, ...); model = torch.compile(model)."
        )
