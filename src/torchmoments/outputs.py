"""Inputs and outputs of a model, and the plan that an output was made with.

The plan is stored on the last nodes of the autograd graph of the output, so it can be found from anything computed from
the output: by a wrapper such as DistributedDataParallel, a cast, a head.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.draw import Plan
from torchmoments.torch_internals import grad_nodes_of, is_not_before

_KEY = "torchmoments.plan"  # in the metadata of a node


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in a value: itself, or those in tuples, lists, mappings, and attributes of objects."""
    yield from _tensors_in(value, set())


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif id(value) not in seen:
        seen.add(id(value))
        for part in _parts(value):
            yield from _tensors_in(part, seen)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, tuple | list):
        return value
    # Modules and functions are not outputs.
    if isinstance(value, nn.Module | type) or callable(value):
        return ()
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def batch_size_of(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Return the number of samples in the first tensor among a model's arguments.

    Raises:
        RuntimeError: there is no tensor.
    """
    for tensor in tensors_in((arguments, keywords)):
        if tensor.ndim:
            return len(tensor)
    raise RuntimeError(
        "an automatic draw reads the number of samples from the first tensor that the model takes; it takes none. "
        "Use attach(..., automatic=False), and `with site.mixing(batch_size) as plan:`."
    )


def nodes_made_since(number: int, output: Any) -> list[Any]:
    """Return the last nodes of an output's autograd graph with at least this sequence number: older ones were made by
    another forward."""
    return [node for tensor in tensors_in(output) for node in grad_nodes_of(tensor) if is_not_before(number, node)]


def record_plan(nodes: list[Any], name: str, plan: Plan | None) -> None:
    """Store on the last nodes of an output the plan of the named site that it was made with; None if there was none."""
    for node in nodes:
        node.metadata.setdefault(_KEY, {})[name] = plan


def recorded_plan(output: Any, name: str, may_mix: bool) -> Plan | None:
    """Return the plan that an output, or what it was computed from, was made with; None if there was none.

    Args:
        may_mix: whether the model is attached and in training, so that an output without a stored plan is an error.

    Raises:
        ValueError: the output contains no tensor.
        RuntimeError: no plan is stored, or there are several.
    """
    tensors = list(tensors_in(output))
    if not tensors:
        raise ValueError(
            f"an output needs a tensor, from which its plan can be found; got a {type(output).__name__}. "
            "Pass what the model returned."
        )
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    found = _nearest([*nodes], name)
    if len(found) > 1:
        raise RuntimeError(
            "this output was computed from several forwards with different partners, so its labels are ambiguous. Use "
            "a loss for each forward, or one plan for all: `with site.mixing(len(x)):` around them."
        )
    if found:
        return found[0]
    if may_mix and torch.is_grad_enabled():
        if not nodes:
            raise RuntimeError(
                "this output has no gradient, so it is unknown whether its labels are mixed: it was detached, or no "
                "trained parameter was used. Pass what the model returned, or call it in `with torch.no_grad():` for "
                "unmixed labels."
            )
        raise RuntimeError(
            "no training forward of the attached model made this output (a copy is another model), or one that was "
            "compiled as part of a whole step, or one without trained parameters, so its labels are unknown. Use "
            "`with site.mixing(len(x)) as plan:` around the forward, and torchmoments.mixed_loss(criterion, output, "
            "target, plan)."
        )
    return None


def _nearest(nodes: list[Any], name: str) -> list[Plan | None]:
    """Return the distinct plans on the nearest nodes of the graph that have one."""
    found: list[Plan | None] = []
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        recorded = node.metadata.get(_KEY, {})
        if name not in recorded:
            nodes += [above for above, _ in node.next_functions if above is not None]
        elif not any(recorded[name] is plan for plan in found):
            found.append(recorded[name])
    return found
