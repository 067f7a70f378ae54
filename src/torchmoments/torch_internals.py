"""All private PyTorch APIs that this package uses.

Names are looked up when called, so a PyTorch version that lacks one loses only the features that need it.
`tests/test_torch_internals.py` specifies what each function has to do, and runs with the oldest and newest version.
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
    """Return the id of the backward pass running in this thread; NO_BACKWARD if there is none."""
    number: int = torch._C._current_graph_task_id() if hasattr(torch._C, "_current_graph_task_id") else NO_BACKWARD
    return number


def next_node_number() -> int:
    """Return the sequence number of the next autograd node created in this thread; numbers only increase."""
    number: int = torch.autograd._get_sequence_nr() if hasattr(torch.autograd, "_get_sequence_nr") else 0
    return number


def grad_nodes_of(tensor: Tensor) -> list[Any]:
    """Return the last autograd nodes of a tensor.

    A view that is modified in place gets a new node; the node of its base is returned too.
    """
    base: Tensor | None = getattr(tensor, "_base", None)
    return [each.grad_fn for each in (tensor, base) if each is not None and each.grad_fn is not None]


def is_not_before(number: int, node: Any) -> bool:
    """Whether a node has at least this sequence number; True if this version of PyTorch has no numbers."""
    return not hasattr(node, "_sequence_nr") or node._sequence_nr() >= number


def recomputing_node_number() -> int:
    """Return the sequence number of the original forward's node whose backward recomputes.

    A reentrant checkpoint inside another one is differentiated inside the outer one's backward, over nodes created by
    the recomputation: there the outermost autograd.Function on the stack is from the original forward.
    """
    node: Any = torch._C._current_autograd_node()
    for frame in _stack():
        if frame.f_code.co_name == "backward" and hasattr(frame.f_locals.get("ctx"), "_sequence_nr"):
            node = frame.f_locals["ctx"]
    number: int = node._sequence_nr()
    return number


def can_identify_recomputations() -> bool:
    """Whether this version of PyTorch has what the functions above need."""
    return (
        hasattr(torch._C, "_current_graph_task_id")
        and hasattr(torch._C, "_current_autograd_node")
        and hasattr(torch.autograd, "_get_sequence_nr")
    )


def is_in_checkpoint() -> bool:
    """Whether `torch.utils.checkpoint` is on the stack; slow."""
    checkpoint = sys.modules.get("torch.utils.checkpoint")
    return checkpoint is not None and any(frame.f_code.co_filename == checkpoint.__file__ for frame in _stack())


def _stack() -> Any:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def constant_when_traced(function: Function) -> Function:
    """Mark a function that the compiler calls while tracing, with constant arguments, treating its result as constant.

    Same as `torch.compiler.assume_constant_result`, whose import takes a second that most users do not need.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant_when_traced
def is_in_traced_checkpoint() -> bool:
    """Whether the compiler is tracing inside an activation checkpoint, where side effects are not allowed.

    True if this version of PyTorch does not report it.
    """
    translator = getattr(sys.modules.get("torch._dynamo.symbolic_convert"), "InstructionTranslator", None)
    try:
        return translator.current_tx().output.current_tracer.parent is not None  # type: ignore[union-attr]
    except AttributeError:
        return True


def skip_in_compiler(function: Callable[..., Any]) -> bool:
    """Make the compiler skip a hook that is called outside compiled code.

    Otherwise it would compile separate graphs for the hooks, one per model class, and torch 2.6 could not export the
    model.

    Returns:
        Whether functions called by the hook are skipped too.
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
    """Call a function that the compiler must not trace, with a graph break around it."""
    # If the compiler, whose import takes a second, was never imported, nothing is compiled.
    if torch.compiler.is_compiling() or "torch._dynamo" in sys.modules:
        disable: Callable[..., Callable[..., Result]] = torch.compiler.disable
        return disable(function)(*arguments)
    return function(*arguments)


@constant_when_traced
def is_traced_or_exported() -> bool:
    """Whether the code is being recorded by `torch.jit.trace`, `torch.fx.symbolic_trace` or `torch.export`."""
    is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    fx = sys.modules.get("torch.fx._symbolic_trace")
    by_fx: Callable[[], bool] = getattr(fx, "is_fx_symbolic_tracing", getattr(fx, "is_fx_tracing", bool))
    is_traced_by_fx = not torch.compiler.is_compiling() and by_fx()
    return torch._C._get_tracing_state() is not None or is_exporting() or is_traced_by_fx


def transforms_disabled() -> AbstractContextManager[Any]:
    """Return a context without torch.func transforms such as vmap, in which numbers are drawn once per vmapped call."""
    disabled: Callable[[], AbstractContextManager[Any]] = getattr(torch._C, "_DisableFuncTorch", contextlib.nullcontext)
    return disabled()


def compiler_traces_foreign_methods() -> bool:
    """Whether the compiler accepts a method of another object as `forward` of a module, and shares compiled code
    between such modules. Older versions accept a callable object, and compile separately for each."""
    return [int(part) for part in torch.__version__.split(".")[:2]] >= [2, 10]


def is_compiled(module: nn.Module) -> bool:
    """Whether a module was returned by `torch.compile`, or `module.compile()` was called."""
    # Imported by the first torch.compile; if it is not, no model is compiled. Importing it takes a second.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    wrapper = getattr(compiler, "OptimizedModule", ())
    return isinstance(module, wrapper) or getattr(module, "_compiled_call_impl", None) is not None


def is_replica(module: nn.Module) -> bool:
    """Whether a module is a copy that `nn.DataParallel` made for a forward."""
    return bool(getattr(module, "_is_replica", False))


def recompile_limit(limit: int) -> AbstractContextManager[Any]:
    """Return a context in which a function may be compiled up to `limit` times."""
    config = torch._dynamo.config
    names = [name for name in ("recompile_limit", "cache_size_limit") if hasattr(config, name)]  # torch 2.6: the second
    return config.patch({names[0]: limit}) if names else contextlib.nullcontext()


def transforms_are_active() -> bool:
    """Whether a torch.func transform or forward-mode differentiation runs, which differentiates formulas itself."""
    are_active = getattr(torch._C, "_are_functorch_transforms_active", bool)
    return bool(are_active()) or getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0


def has_readable_values(x: Tensor) -> bool:
    """Whether checks outside the forward may compute with x and read the result.

    Not if x has no values, or inside a transform, a dispatch mode that counts, records or replays operations (as in
    selective checkpointing), or a CUDA graph capture.
    """
    modes = getattr(torch._C, "_len_torch_dispatch_stack", int)
    is_captured = x.is_cuda and torch.cuda.is_current_stream_capturing()
    return type(x) is Tensor and not (x.is_meta or modes() or transforms_are_active() or is_captured)


def is_batched(gradient: Tensor) -> bool:
    """Whether a gradient represents a batch of gradients, as in `torch.autograd.grad(..., is_grads_batched=True)`."""
    is_legacy = getattr(getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", None)
    return is_legacy is not None and bool(is_legacy(gradient))


def standard_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from Gamma(shape, 1) with a given generator, which `torch.distributions` does not support.

    Raises:
        RuntimeError: this version of PyTorch lacks the private function.
    """
    if not hasattr(torch, "_standard_gamma"):
        raise missing_internals("alpha= draws Beta weights", "Use alpha=None, or a method without alpha")
    gammas: Tensor = torch._standard_gamma(shape, generator=generator)
    return gammas


def missing_internals(what: str, instead: str) -> RuntimeError:
    """Return the error for a feature that needs missing internals."""
    return RuntimeError(
        f"{what} with private functions that PyTorch {torch.__version__} lacks. {instead}, or a version of PyTorch "
        "that torchmoments is tested with."
    )
