"""How a mixer gets into a model that stays as it is."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import nn

from torchmoments.active import ActivePlan, Calls
from torchmoments.channels import Side
from torchmoments.features import layout_of
from torchmoments.hook import MaskOf, ModelHook, PlaceHook
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
    mask: MaskOf | None = None,
) -> Site:
    """Attach a mixer to places of a model, which stays as it is.

    Each training forward of the model draws a plan by itself: `model` is in train mode, gradients are enabled, and
    nothing is recomputed. Labels follow by `criterion = site.criterion(criterion)`. Inside `with site.using(plan):` and
    `with site.mixing(len(x)) as plan:` that plan counts. In eval mode (of `model`) nothing is mixed.

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
        seed: of the site's own random numbers; torch.initial_seed() if None. Each rank of a process group has others.
        automatic: False: nothing is mixed outside of `using` and `mixing`.
        mask: where no padding is, in the automatic form: the name of an argument of the model, such as
            "attention_mask", or a function of all its arguments that returns what `using` takes as mask.

    Raises:
        ValueError: no module has such a name, the model is compiled already, or an argument is outside its range.
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
    # Nothing is refused from here on, so that a refusal leaves the model as it was.
    handles = []
    for name, module in modules.items():
        if mark(module) > 1:
            warn(
                f"{name!r} has the mixer of another site already, and both mix there. Call detach() of the other site "
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
        raise ValueError("mask= is for the automatic form; without it use site.using(plan, mask=...).")


def _check_not_scripted(name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name!r} is compiled by torch.jit, where nothing can be attached. Attach to the model that was given to "
            "torch.jit.script or torch.jit.trace."
        )


def _check_not_compiled(model: nn.Module, name: str) -> None:
    """Of a module of the model, and all that it is inside of."""
    path = name.split(".") if name else []
    if any(is_compiled(model.get_submodule(".".join(path[:depth]))) for depth in range(len(path) + 1)):
        place = f"{name!r} is inside one" if name else "this model is one"
        raise ValueError(
            f"a compiled model ignores what is attached later, and {place}. "
            "Attach first, then compile: site = attach(model, ...); model = torch.compile(model)."
        )
