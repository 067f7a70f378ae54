"""Which plan a place has to follow now: the one in use, or, in a recomputation, the one of its own forward.

Activation checkpointing runs a module again during backward, when its `with` block may have ended and others may have
come. Every node of the autograd graph has a sequence number, counted up as forwards run; a block remembers the range it
covered, and the node whose backward recomputes tells by its number to which block it belongs.
"""

import collections
import sys
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.autograd import _get_sequence_nr  # type: ignore[attr-defined]

from torchmoments.draw import Plan

REMEMBERED = 256
NO_BACKWARD = -1

# Names of places that a compiler has traced. Of all sites: models of one class share what was compiled for the first.
COMPILED: set[str] = set()


class Block:
    """A range of sequence numbers in which one plan was in use."""

    def __init__(self, plan: Plan | None) -> None:
        self.plan = plan
        self.start: int = _get_sequence_nr()
        self.end: int | None = None
        self.modes: set[bool] = set()  # of the model, in the forwards of this block


class Armed:
    """What the places of one site share. A copy or an unpickled one starts with nothing in use."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.model: nn.Module | None = None
        self.block: Block | None = None
        self.backward = NO_BACKWARD
        self.ran: set[str] = set()
        self.history: collections.deque[Block] = collections.deque()
        self.forgotten = -1

    def __reduce__(self) -> tuple[Any, ...]:
        return (Armed, ())

    def arm(self, plan: Plan | None, model: nn.Module) -> tuple[Any, ...]:
        """Put a plan in use; returns what was in use, for `disarm`."""
        before = (self.plan, self.model, self.block, self.backward, self.ran)
        self.plan, self.model, self.ran = plan, model, set()
        if not torch.compiler.is_compiling():
            self.backward = torch._C._current_graph_task_id()
            self.block = Block(plan)
            self.history.append(self.block)
            if len(self.history) > REMEMBERED:
                self.forgotten = max(self.forgotten, self.history.popleft().end or 0)
        return before

    def disarm(self, before: tuple[Any, ...]) -> set[str]:
        """Put back what was in use before; returns the places that ran."""
        ran = self.ran
        if self.block is not None and not torch.compiler.is_compiling():
            self.block.end = _get_sequence_nr()
        self.plan, self.model, self.block, self.backward, self.ran = before
        return ran

    def plan_for(self, place: str) -> Plan | None:
        """The plan that features at `place` have to follow now; None: they stay plain."""
        if torch.compiler.is_compiling():
            plan = self.plan
            if plan is None or self.model is None:
                return None
            _note_compiled(place)
            return plan if self.model.training else None
        backward = torch._C._current_graph_task_id()
        if backward not in (NO_BACKWARD, self.backward):
            return self._plan_of_recomputation()
        if self.plan is None or self.model is None or self.block is None:
            return None
        self.ran.add(place)
        self.block.modes.add(self.model.training)
        if not self.model.training:
            self.plan.met_eval_mode = True
            return None
        self.plan.was_used = True
        return self.plan

    def _plan_of_recomputation(self) -> Plan | None:
        number = _recomputing_node()._sequence_nr()
        if number < self.forgotten:
            raise RuntimeError(
                f"the plan of this recomputed forward is lost: more than {REMEMBERED} blocks were used since. "
                "Call backward sooner, or run this part of the model without activation checkpointing."
            )
        # Blocks nest: of those that cover the number, the innermost began last. So did the one of this step, where each
        # step runs in a thread of its own, which counts from 0.
        covering = (b for b in reversed(self.history) if b.start <= number and (b.end is None or number < b.end))
        block = next(covering, None)
        if block is None:
            return None
        if len(block.modes) > 1:
            raise RuntimeError(
                "a forward in train and one in eval mode ran in one block, so the plan of this recomputation is lost. "
                "Use a block of its own for each: with site.using(plan): ..."
            )
        return block.plan if block.modes == {True} else None


def _note_compiled(place: str) -> bool:
    """Runs while the compiler traces: a compiled place cannot say at run time that it ran."""
    COMPILED.add(place)
    return True


# What `torch.compiler.assume_constant_result` sets, whose import takes a second that most users never need.
_note_compiled._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _recomputing_node() -> Any:
    """The node of the original forward whose backward recomputes.

    A reentrant checkpoint inside another one is differentiated inside the outer one's backward, over nodes that the
    recomputation made: there the outermost autograd.Function on the stack is the original one.
    """
    node: Any = torch._C._current_autograd_node()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "backward":
            ctx = frame.f_locals.get("ctx")
            if hasattr(ctx, "_sequence_nr"):
                node = ctx
        frame = frame.f_back
    return node
