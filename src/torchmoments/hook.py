"""What runs at an attached place, and at the model as a whole."""

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.active import ActivePlan, Calls, RecordOfThread
from torchmoments.blocks import Masks, Orders
from torchmoments.draw import Draw
from torchmoments.effect import EffectCheck
from torchmoments.features import Layout, replace_features
from torchmoments.mixers.mixer import Mixer
from torchmoments.outputs import batch_size_of
from torchmoments.torch_internals import (
    is_in_checkpoint,
    is_replica,
    leave_to_python,
    outside_of_transforms,
    run_outside_of_compiled_code,
)
from torchmoments.using import Using

MaskOf = str | Callable[..., Masks | None]


class PlaceHook:
    """Mixes the features at one place. A copy of the model alone has hooks whose plan never comes: it stays plain."""

    def __init__(
        self,
        place: str,
        mixer: Mixer,
        layout: Layout,
        output: int | str | None,
        calls: Calls | None,
        active: ActivePlan,
    ) -> None:
        self.place = place
        self.mixer = mixer
        self.layout = layout
        self.output = output
        self.calls = calls
        self.active = active
        self.here = RecordOfThread(active, place)
        self.effect = EffectCheck(place)

    def on_output(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        change = self._change(self._orders(module))
        return None if change is None else replace_features(output, self.output, self.place, change)

    def on_input(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        change = self._change(self._orders(module))
        if change is None:
            return None
        if isinstance(self.output, str):
            return arguments, replace_features(keywords, self.output, self.place, change)
        key = 0 if self.output is None else self.output
        return replace_features(arguments, key, self.place, change), keywords

    def _orders(self, module: nn.Module) -> Orders | None:
        orders = self.active.orders(self.here.record, self.calls)
        if orders is None and not torch.compiler.is_compiling():
            self._check_that_the_model_runs(module)
        return orders if self.mixer.changes_features else None

    def _check_that_the_model_runs(self, module: nn.Module) -> None:
        if (
            self.active.draws_for(module)
            and not self.active.here.in_forward
            and torch.is_grad_enabled()
            and not self.active.recomputes()
        ):
            raise RuntimeError(
                f"{self.place!r} ran in training without a call of the model that it is attached to, so nothing was "
                "drawn. Attach to the module that your program calls; or put `with site.mixing(len(x)) as plan:` "
                "around the call, `with site.using(None):` for a plain one."
            )

    def _change(self, orders: Orders | None) -> Callable[[Tensor], Tensor] | None:
        """What is done to the features; None: nothing, whatever they are."""
        if orders is not None:
            return lambda x: self._mix(x, orders)
        here = self.active.here
        if not torch.compiler.is_compiling() and here.automatic is not None and here.automatic_size < 2:
            # One sample is never mixed, so nothing else would tell that a batch was taken for it.
            return lambda x: self._check_number_of_samples(x, here.automatic_size)
        return None

    def _check_number_of_samples(self, x: Tensor, expected: int) -> Tensor:
        if x.shape[0] != expected:
            is_automatic = self.active.here.automatic is not None
            how = ", which was read from the first tensor that the model takes" if is_automatic else ""
            raise ValueError(
                f"the plan is for {expected} samples{how}; the features at {self.place!r} have {x.shape[0]}, shape "
                f"{list(x.shape)}. Use `with site.mixing(batch_size):` around the forward with the batch that goes "
                "through the model, and a place whose features have the batch first."
            )
        return x

    def _mix(self, x: Tensor, orders: Orders) -> Tensor:
        draw, mask = orders
        self._check_number_of_samples(x, draw.batch_size)
        if draw.partner.device != x.device:
            draw = draw.to(x.device)
        if mask is not None:
            mask = mask.to(x.device)
        was_read = self.active.here.automatic is not None
        mixed = self.layout.apply(lambda view, mask: self._mixed(view, draw, mask), x, mask, number_was_read=was_read)
        self.active.mixed_outside_of_forward(mixed)
        return mixed

    def _mixed(self, view: Tensor, draw: Draw, mask: Tensor | None) -> Tensor:
        mixed = self.mixer(view, draw, mask)
        if not torch.compiler.is_compiling():
            self.effect.look(self.mixer, view, mixed, draw, mask)
        return mixed


class ModelHook:
    """Says when a forward of the model begins and ends. In the automatic form a training forward is a block of its own.

    Args:
        active: of the site.
        mask: finds the mask in what the model takes, in the automatic form.
    """

    def __init__(self, active: ActivePlan, mask: MaskOf | None) -> None:
        self.active = active
        self.mask = mask
        self._leave_to_python()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._leave_to_python()

    def _leave_to_python(self) -> None:
        hooks = (ModelHook.before, ModelHook.after, ModelHook._in_python, run_outside_of_compiled_code)
        with_what_they_call = [leave_to_python(function) for function in hooks]
        self._is_left_alone = all(with_what_they_call)

    def before(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if is_replica(module):
            raise RuntimeError(
                "nn.DataParallel copies the model in parts that do not fit what is attached. Use "
                "DistributedDataParallel, or call site.detach() first."
            )
        if torch.compiler.is_compiling():
            if self.active.here.automatic is not None or self.active.draws_for(module):
                run_outside_of_compiled_code(self._begin_block, module, arguments, keywords)
            self.active.begin_forward()
        else:
            self._in_python(self._begin, module, arguments, keywords, sys._getframe(1))

    def after(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if torch.compiler.is_compiling() and self.active.here.automatic is None:
            self.active.end_forward(output)
        else:
            self._in_python(self._end, output)

    def _in_python(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._is_left_alone and not torch.compiler.is_compiling():
            function(*arguments)
        else:
            run_outside_of_compiled_code(function, *arguments)

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], frame: FrameType) -> None:
        self.active.here.end_what_was_broken_off()
        self._begin_block(module, arguments, keywords)
        self.active.begin_forward(frame)

    def _end(self, output: Any) -> None:
        self.active.end_forward(output)
        block, self.active.here.automatic = self.active.here.automatic, None
        if block is not None:
            # A forward that failed gave nothing.
            block.__exit__(None if output is not None else RuntimeError, None, None)

    def _begin_block(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        here, planner = self.active.here, self.active.planner
        if here.automatic is not None:
            raise RuntimeError(
                "the automatic form has one plan for a forward of the model, and this model calls itself. Use "
                "attach(..., automatic=False), and `with site.mixing(len(x)) as plan:`."
            )
        if planner is None or not self.active.draws_for(module) or self.active.recomputes():
            return
        if not torch.is_grad_enabled():
            if is_in_checkpoint():
                raise RuntimeError(
                    "the automatic form cannot tell a training forward inside a reentrant checkpoint, where gradients "
                    "are off, from another. Use use_reentrant=False, or `with site.mixing(len(x)) as plan:` around it."
                )
            return
        here.last = None
        planner.warn_of_half_mixed_steps()
        batch_size = batch_size_of(arguments, keywords)
        with outside_of_transforms():
            plan = planner.plan(batch_size, None, device_of(module))
        block = Using(self.active, module, plan, self._find_mask(module, arguments, keywords))
        block.__enter__()
        here.automatic, here.automatic_size = block, batch_size

    def _find_mask(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Masks | None:
        if self.mask is None:
            return None
        if not isinstance(self.mask, str):
            return self.mask(*arguments, **keywords)
        signature = inspect.signature(type(module).forward)
        given = {**signature.bind_partial(module, *arguments).arguments, **keywords}
        if self.mask not in given and self.mask not in signature.parameters:
            raise ValueError(
                f"mask={self.mask!r} needs to be an argument of the model; it takes {', '.join(signature.parameters)}. "
                "Use attach(..., mask=function), a function of what the model takes."
            )
        mask: Masks | None = given.get(self.mask)
        return mask


def device_of(model: nn.Module) -> torch.device:
    """Where the model computes."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
