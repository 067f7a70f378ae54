"""The hooks on attached modules and on the model as a whole."""

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.active import ActivePlan, Calls, PlaceRecordPerThread
from torchmoments.blocks import Instruction, Masks
from torchmoments.draw import Draw
from torchmoments.effect import EffectCheck
from torchmoments.features import Layout, replace_features
from torchmoments.mixers.mixer import Mixer
from torchmoments.outputs import batch_size_of
from torchmoments.torch_internals import (
    is_in_checkpoint,
    is_replica,
    run_outside_of_compiled_code,
    skip_in_compiler,
    transforms_disabled,
)
from torchmoments.using import Using

MaskSource = str | Callable[..., Masks | None]


class PlaceHook:
    """Mixes the features at one place. If only the model is copied, the hooks of the copy never get a plan."""

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
        self.per_thread = PlaceRecordPerThread(active, place)
        self.effect = EffectCheck(place)

    def on_output(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        change = self._change(self._instruction(module))
        return None if change is None else replace_features(output, self.output, self.place, change)

    def on_input(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        change = self._change(self._instruction(module))
        if change is None:
            return None
        if isinstance(self.output, str):
            return arguments, replace_features(keywords, self.output, self.place, change)
        key = 0 if self.output is None else self.output
        return replace_features(arguments, key, self.place, change), keywords

    def _instruction(self, module: nn.Module) -> Instruction | None:
        instruction = self.active.instruction(self.per_thread.record, self.calls)
        if instruction is None and not torch.compiler.is_compiling():
            self._check_that_the_model_runs(module)
        return instruction if self.mixer.changes_features else None

    def _check_that_the_model_runs(self, module: nn.Module) -> None:
        if (
            self.active.draws_for(module)
            and not self.active.state.in_forward
            and torch.is_grad_enabled()
            and not self.active.recomputes()
        ):
            raise RuntimeError(
                f"{self.place!r} ran in training without a call of the model that it is attached to, so nothing was "
                "drawn. Attach to the module that your program calls; or put `with site.mixing(len(x)) as plan:` "
                "around the call, or `with site.using(None):` to turn off mixing."
            )

    def _change(self, instruction: Instruction | None) -> Callable[[Tensor], Tensor] | None:
        """Return the function to apply to the features; None if none is needed."""
        if instruction is not None:
            return lambda x: self._mix(x, instruction)
        state = self.active.state
        if not torch.compiler.is_compiling() and state.automatic_block is not None and state.automatic_batch_size < 2:
            # One sample is never mixed, so nothing else would reveal a wrong batch size.
            return lambda x: self._check_number_of_samples(x, state.automatic_batch_size)
        return None

    def _check_number_of_samples(self, x: Tensor, expected: int) -> Tensor:
        if x.shape[0] != expected:
            is_automatic = self.active.state.automatic_block is not None
            how = ", which was read from the first tensor that the model takes" if is_automatic else ""
            raise ValueError(
                f"the plan is for {expected} samples{how}; the features at {self.place!r} have {x.shape[0]}, shape "
                f"{list(x.shape)}. Use `with site.mixing(batch_size):` around the forward with the batch that goes "
                "through the model, and a place whose features have the batch first."
            )
        return x

    def _mix(self, x: Tensor, instruction: Instruction) -> Tensor:
        draw, mask = instruction
        self._check_number_of_samples(x, draw.batch_size)
        if draw.partner.device != x.device:
            draw = draw.to(x.device)
        if mask is not None:
            mask = mask.to(x.device)
        was_read = self.active.state.automatic_block is not None
        mixed = self.layout.apply(
            lambda view, mask: self._mixed(view, draw, mask), x, mask, batch_size_was_inferred=was_read
        )
        self.active.after_mixing(mixed)
        return mixed

    def _mixed(self, view: Tensor, draw: Draw, mask: Tensor | None) -> Tensor:
        mixed = self.mixer(view, draw, mask)
        if not torch.compiler.is_compiling():
            self.effect.look(self.mixer, view, mixed, draw, mask)
        return mixed


class ModelHook:
    """Marks the beginning and end of a forward of the model. If draws are automatic, each training forward is
    its own block.

    Args:
        active: the state shared with the places.
        mask: how to find the mask in the arguments of the model, if draws are automatic.
    """

    def __init__(self, active: ActivePlan, mask: MaskSource | None) -> None:
        self.active = active
        self.mask = mask
        self._skip_in_compiler()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._skip_in_compiler()

    def _skip_in_compiler(self) -> None:
        hooks = (ModelHook.before, ModelHook.after, ModelHook._in_python, run_outside_of_compiled_code)
        skipped = [skip_in_compiler(function) for function in hooks]
        self._compiler_skips_it = all(skipped)

    def before(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if is_replica(module):
            raise RuntimeError(
                "nn.DataParallel splits the batch after it was drawn, so it does not work with an attached model. Use "
                "DistributedDataParallel, or call site.detach() first."
            )
        if torch.compiler.is_compiling():
            if self.active.state.automatic_block is not None or self.active.draws_for(module):
                run_outside_of_compiled_code(self._begin_block, module, arguments, keywords)
            self.active.begin_forward()
        else:
            self._in_python(self._begin, module, arguments, keywords, sys._getframe(1))

    def after(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if torch.compiler.is_compiling() and self.active.state.automatic_block is None:
            self.active.end_forward(output)
        else:
            self._in_python(self._end, output)

    def _in_python(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._compiler_skips_it and not torch.compiler.is_compiling():
            function(*arguments)
        else:
            run_outside_of_compiled_code(function, *arguments)

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], frame: FrameType) -> None:
        self.active.state.end_aborted_forward()
        self._begin_block(module, arguments, keywords)
        self.active.begin_forward(frame)

    def _end(self, output: Any) -> None:
        self.active.end_forward(output)
        block, self.active.state.automatic_block = self.active.state.automatic_block, None
        if block is not None:
            # A forward that failed has no output.
            block.__exit__(None if output is not None else RuntimeError, None, None)

    def _begin_block(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        state, planner = self.active.state, self.active.planner
        if state.automatic_block is not None:
            raise RuntimeError(
                "an automatic draw is for one forward of the model, and this model calls itself. Use "
                "attach(..., automatic=False), and `with site.mixing(len(x)) as plan:`."
            )
        if planner is None or not self.active.draws_for(module) or self.active.recomputes():
            return
        if not torch.is_grad_enabled():
            if is_in_checkpoint():
                raise RuntimeError(
                    "an automatic draw cannot recognize a training forward inside a reentrant checkpoint, where "
                    "gradients are off. Use use_reentrant=False, or `with site.mixing(len(x)) as plan:` around it."
                )
            return
        state.last_plan = None
        planner.warn_about_half_mixed_steps()
        batch_size = batch_size_of(arguments, keywords)
        with transforms_disabled():
            plan = planner.plan(batch_size, None, device_of(module))
        block = Using(self.active, module, plan, self._find_mask(module, arguments, keywords))
        block.__enter__()
        state.automatic_block, state.automatic_batch_size = block, batch_size

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
                "Use attach(..., mask=function), a function of the arguments of the model."
            )
        mask: Masks | None = given.get(self.mask)
        return mask


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter; the CPU if there is none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
