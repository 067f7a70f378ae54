"""What a model takes and gives, and the plan that an output was made with.

The plan is written to the nodes of the autograd graph that the output ends in, so it is found again from whatever is
computed of the output: by a wrapper such as DistributedDataParallel, a cast, a head.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments.draw import Plan
from torchmoments.torch_internals import is_since, nodes_of

_KEY = "torchmoments.plan"  # in the metadata of a node


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in a tensor, or in what holds tensors: tuples, lists, mappings, objects with attributes."""
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
    # Modules and functions make outputs, and are none.
    if isinstance(value, nn.Module | type) or callable(value):
        return ()
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def batch_size_of(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Number of samples of the first tensor that a model takes.

    Raises:
        RuntimeError: it takes none.
    """
    for tensor in tensors_in((arguments, keywords)):
        if tensor.ndim:
            return len(tensor)
    raise RuntimeError(
        "the automatic form reads the number of samples from the first tensor that the model takes; it takes none. "
        "Use attach(..., automatic=False), and `with site.mixing(batch_size) as plan:`."
    )


def nodes_made_since(number: int, output: Any) -> list[Any]:
    """The nodes that an output ends in, of the autograd graph from this sequence number on: what it only passes on was
    made by another forward."""
    return [node for tensor in tensors_in(output) for node in nodes_of(tensor) if is_since(number, node)]


def note_plan(nodes: list[Any], name: str, plan: Plan | None) -> None:
    """Note where an output ends which plan of the site of this name it was made with; None: with none."""
    for node in nodes:
        node.metadata.setdefault(_KEY, {})[name] = plan


def noted_plan(output: Any, name: str, may_mix: bool) -> Plan | None:
    """The plan that an output was made with, found from it or from what was computed of it; None: with none.

    Args:
        may_mix: whether the model is attached and trains now: what nobody noted is then not known to be plain.

    Raises:
        ValueError: there is no tensor.
        RuntimeError: it cannot be told, or there are several.
    """
    tensors = list(tensors_in(output))
    if not tensors:
        raise ValueError(
            f"an output needs a tensor, which tells the plan that it was made with; got a {type(output).__name__}. "
            "Give what the model returned."
        )
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    found = _nearest([*nodes], name)
    if len(found) > 1:
        raise RuntimeError(
            "this output was computed of several forwards, each with partners of its own, so its labels cannot be "
            "told. Use a loss for each forward, or one plan for all: `with site.mixing(len(x)):` around them."
        )
    if found:
        return found[0]
    if may_mix and torch.is_grad_enabled():
        if not nodes:
            raise RuntimeError(
                "this output has no gradient, so it cannot be told whether its labels are mixed: it was detached, or "
                "nothing that made it is trained. Give what the model returned, or call it in `with torch.no_grad():` "
                "for plain labels."
            )
        raise RuntimeError(
            "no training forward of the attached model made this output (a copy is another model), or one in code that "
            "was compiled as a whole, or without a trained parameter, so its labels cannot be told. Use "
            "`with site.mixing(len(x)) as plan:` around the forward, and torchmoments.mixed_loss(criterion, output, "
            "target, plan)."
        )
    return None


def _nearest(nodes: list[Any], name: str) -> list[Plan | None]:
    """The distinct plans on the nearest nodes of the graph that have one."""
    found: list[Plan | None] = []
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        noted = node.metadata.get(_KEY, {})
        if name not in noted:
            nodes += [above for above, _ in node.next_functions if above is not None]
        elif not any(noted[name] is plan for plan in found):
            found.append(noted[name])
    return found
