"""Everything that this package uses of PyTorch beyond what PyTorch promises.

Names are looked up at the call, so a version of PyTorch that lacks one loses only what needs it. What each function has
to do stands in `tests/test_torch_internals.py`, which runs with the oldest and the newest version.
"""

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

NO_BACKWARD = -1

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")


def backward_id() -> int:
    """The number of the backward pass that this thread is in; NO_BACKWARD outside of one."""
    number: int = torch._C._current_graph_task_id() if hasattr(torch._C, "_current_graph_task_id") else NO_BACKWARD
    return number


def next_node_number() -> int:
    """The sequence number that the next node of the autograd graph of this thread gets; numbers only grow."""
    number: int = torch.autograd._get_sequence_nr() if hasattr(torch.autograd, "_get_sequence_nr") else 0
    return number


def nodes_of(tensor: Tensor) -> list[Any]:
    """The nodes of the autograd graph that a tensor ends in.

    A view that is written to gets another node, above which that of its base stays.
    """
    base: Tensor | None = getattr(tensor, "_base", None)
    return [each.grad_fn for each in (tensor, base) if each is not None and each.grad_fn is not None]


def is_since(number: int, node: Any) -> bool:
    """Whether a node is not older than this sequence number; True if this version of PyTorch cannot tell."""
    return not hasattr(node, "_sequence_nr") or node._sequence_nr() >= number


def recomputing_node_number() -> int:
    """The sequence number of the node of the original forward whose backward recomputes.

    A reentrant checkpoint inside another one is differentiated inside the outer one's backward, over nodes that the
    recomputation made: there the outermost autograd.Function on the stack is the original one.
    """
    node: Any = torch._C._current_autograd_node()
    for frame in _stack():
        if frame.f_code.co_name == "backward" and hasattr(frame.f_locals.get("ctx"), "_sequence_nr"):
            node = frame.f_locals["ctx"]
    number: int = node._sequence_nr()
    return number


def recomputations_can_be_told() -> bool:
    """Whether this version of PyTorch has what the three functions above need."""
    return (
        hasattr(torch._C, "_current_graph_task_id")
        and hasattr(torch._C, "_current_autograd_node")
        and hasattr(torch.autograd, "_get_sequence_nr")
    )


def is_in_checkpoint() -> bool:
    """Whether `torch.utils.checkpoint` is on the stack, which is slow to say."""
    checkpoint = sys.modules.get("torch.utils.checkpoint")
    return checkpoint is not None and any(frame.f_code.co_filename == checkpoint.__file__ for frame in _stack())


def _stack() -> Any:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def at_trace_time(function: Function) -> Function:
    """Have the compiler call the function while it traces, with arguments that it knows, and keep the result.

    It is what `torch.compiler.assume_constant_result` sets, whose import takes a second that most users never need.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@at_trace_time
def is_in_traced_checkpoint() -> bool:
    """Whether the compiler is tracing the inside of an activation checkpoint, where nothing may be written down.

    True if this version of PyTorch cannot tell.
    """
    translator = getattr(sys.modules.get("torch._dynamo.symbolic_convert"), "InstructionTranslator", None)
    try:
        return translator.current_tx().output.current_tracer.parent is not None  # type: ignore[union-attr]
    except AttributeError:
        return True


def leave_to_python(function: Callable[..., Any]) -> bool:
    """Have the compiler leave a hook alone that is called outside of the code that it compiles.

    So a model's own hooks cost no graph of theirs, of which there is one for each class of models. torch 2.6 cannot
    export a model either whose own hooks it would compile by themselves.

    Returns:
        Whether what the hook calls is left alone too.
    """
    frames: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    if hasattr(frames, "set_code_exec_strategy"):
        skip = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.SKIP)
        frames.set_code_exec_strategy(function.__code__, skip)
        return True
    if hasattr(frames, "skip_code"):
        frames.skip_code(function.__code__)
    return False


def run_outside_of_compiled_code(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that the compiler must not look into: compiled code ends before it and goes on after it."""
    # Without the compiler, whose import takes a second, nothing is compiled.
    if torch.compiler.is_compiling() or "torch._dynamo" in sys.modules:
        disable: Callable[..., Callable[..., Result]] = torch.compiler.disable
        return disable(function)(*arguments)
    return function(*arguments)


@at_trace_time
def is_traced_for_good() -> bool:
    """Whether what runs is recorded as it is now: by `torch.jit.trace`, `torch.fx.symbolic_trace` or `torch.export`."""
    is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    fx = sys.modules.get("torch.fx._symbolic_trace")
    by_fx: Callable[[], bool] = getattr(fx, "is_fx_symbolic_tracing", getattr(fx, "is_fx_tracing", bool))
    is_traced_by_fx = not torch.compiler.is_compiling() and by_fx()
    return torch._C._get_tracing_state() is not None or is_exporting() or is_traced_by_fx


def outside_of_transforms() -> AbstractContextManager[Any]:
    """In this block transforms of torch.func, such as vmap, are off: numbers are drawn once for all that they batch."""
    disabled: Callable[[], AbstractContextManager[Any]] = getattr(torch._C, "_DisableFuncTorch", contextlib.nullcontext)
    return disabled()


def methods_of_any_object_are_traced() -> bool:
    """Whether the compiler takes a method as the `forward` of a module whose own it is not, and shares what it compiled
    between such modules. Older ones take a callable object, and compile for each anew."""
    return [int(part) for part in torch.__version__.split(".")[:2]] >= [2, 10]


def is_compiled(module: nn.Module) -> bool:
    """Whether it is what `torch.compile` returned, or `module.compile()` was called."""
    # Imported by the first torch.compile; without it there is no compiled model, and its import takes a second.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    wrapper = getattr(compiler, "OptimizedModule", ())
    return isinstance(module, wrapper) or getattr(module, "_compiled_call_impl", None) is not None


def is_replica(module: nn.Module) -> bool:
    """Whether it is one of the copies that `nn.DataParallel` makes for a forward."""
    return bool(getattr(module, "_is_replica", False))


def recompile_limit(limit: int) -> AbstractContextManager[Any]:
    """In this block a function may be compiled so many times."""
    config = torch._dynamo.config
    names = [name for name in ("recompile_limit", "cache_size_limit") if hasattr(config, name)]  # torch 2.6: the second
    return config.patch({names[0]: limit}) if names else contextlib.nullcontext()


def transforms_are_active() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation runs: they look into formulas themselves."""
    are_active = getattr(torch._C, "_are_functorch_transforms_active", bool)
    return bool(are_active()) or getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0


def has_plain_values(x: Tensor) -> bool:
    """Whether code beside a forward may compute with x and read what it finds.

    Not if x has no values, or is seen by a transform, by a mode that counts, records or replays what runs (as selective
    checkpointing does), or by a CUDA graph.
    """
    modes = getattr(torch._C, "_len_torch_dispatch_stack", int)
    is_captured = x.is_cuda and torch.cuda.is_current_stream_capturing()
    return type(x) is Tensor and not (x.is_meta or modes() or transforms_are_active() or is_captured)


def is_batched(gradient: Tensor) -> bool:
    """Whether it stands for a batch of gradients, as in `torch.autograd.grad(..., is_grads_batched=True)`."""
    is_legacy = getattr(getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", None)
    return is_legacy is not None and bool(is_legacy(gradient))


def standard_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma(shape, 1) of a generator of one's own, which `torch.distributions` does not take.

    Raises:
        RuntimeError: this version of PyTorch lacks it.
    """
    if not hasattr(torch, "_standard_gamma"):
        raise lacks("alpha= draws Beta weights", "Use alpha=None, or a method without alpha")
    gammas: Tensor = torch._standard_gamma(shape, generator=generator)
    return gammas


def lacks(what: str, instead: str) -> RuntimeError:
    """The error for what needs internals that are not there."""
    return RuntimeError(
        f"{what} by internals that PyTorch {torch.__version__} lacks. {instead}, or a version of PyTorch that "
        "torchmoments is tested with."
    )
