"""Which plan a place has to follow now: that in use in this thread, or, in a recomputation, that of its own forward."""

import threading
import uuid
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchmoments.blocks import Block, Blocks, Masks, Orders, orders_of
from torchmoments.draw import Plan
from torchmoments.outputs import nodes_made_since, note_plan
from torchmoments.planner import Planner
from torchmoments.present import Present, PresentOfThread, Record
from torchmoments.torch_internals import (
    NO_BACKWARD,
    at_trace_time,
    backward_id,
    is_in_checkpoint,
    is_in_traced_checkpoint,
    is_traced_for_good,
    lacks,
    next_node_number,
    recomputations_can_be_told,
)
from torchmoments.warn import warn

Calls = Literal["first", "all"] | int


class RecordOfThread(threading.local):
    """The record of one place in the thread that asks.

    Compiled code that looks for it by the name of the place is for that place alone; blocks of a model that are
    compiled by themselves share their code.
    """

    def __init__(self, active: "ActivePlan", place: str) -> None:
        self.record = active.here.records[place]
        self._of = (active, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return (RecordOfThread, self._of)


class ActivePlan:
    """What the places of one site share. A copy or an unpickled one starts with nothing in use, and draws nothing."""

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        self._threads = PresentOfThread(self.places)
        self.planner: Planner | None = None  # draws for forwards in no block, in the automatic form
        self.blocks = Blocks()
        # Inside a checkpoint that is compiled nothing can be written at run time: it is noted while it is traced, for
        # which code is compiled anew for each of these names.
        self.name = uuid.uuid4().hex
        self.compiled_in_checkpoints: set[str] = set()
        self._note = _noting_in(self.compiled_in_checkpoints)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ActivePlan, (self.places,))

    @property
    def here(self) -> Present:
        return self._threads.present

    def draws_for(self, module: nn.Module) -> bool:
        """Whether a forward with gradients draws by itself, where a module says that it is one in training."""
        return self.planner is not None and self.here.model is None and module.training and not is_traced_for_good()

    def forget(self) -> None:
        """Nothing will run again: plans and masks of earlier forwards are let go."""
        self.blocks = Blocks()

    def enter(self, plan: Plan | None, mask: Masks | None, model: nn.Module) -> tuple[tuple[Any, ...], Block | None]:
        """Put a plan in use in this thread; returns what was in use, and the block that begins, for `leave`."""
        here = self.here
        if not torch.compiler.is_compiling():
            here.end_what_was_broken_off()
        records = [(record.orders, record.ran) for record in here.records.values()]
        before = (here.plan, here.model, here.block, here.backward, here.in_forward, records)
        here.plan, here.model = plan, model
        for place, record in here.records.items():
            record.orders, record.ran = None if plan is None else orders_of(plan.draws, mask, place), False
        if not torch.compiler.is_compiling():
            here.backward = backward_id()
            here.block = self.blocks.open(plan, mask, thread=here)
        return before, here.block

    def leave(self, before: tuple[Any, ...], block: Block | None) -> set[str]:
        """Put back what was in use before; returns the places that ran, as far as it is known.

        Raises:
            RuntimeError: another block began later and has not ended.
        """
        here = self.here
        ran: set[str] = set()
        if not torch.compiler.is_compiling():
            ran = {place for place, record in here.records.items() if record.ran} | self.compiled_in_checkpoints
            if block is not here.block:
                here.plan = here.model = here.block = None
                raise RuntimeError(
                    "blocks of one site need to be left in the reverse order in which they were entered; one was left "
                    "before another inside it. Use `with site.using(plan):` within one function that is no generator."
                )
            if here.block is not None:
                here.block.close()
        here.plan, here.model, here.block, here.backward, here.in_forward, records = before
        for record, (orders, had_run) in zip(here.records.values(), records, strict=True):
            record.orders, record.ran = orders, had_run
        return ran

    def begin_forward(self, frame: FrameType | None = None) -> None:
        """The whole model runs: calls of places are counted from 0.

        Args:
            frame: that calls it; None if it is compiled.
        """
        self._count_calls(in_forward=True)
        if not torch.compiler.is_compiling():
            self.here.frame, self.here.start = frame, next_node_number()
        if torch.compiler.is_compiling() or not torch.is_grad_enabled() or self.recomputes():
            return
        self.here.last = self.here.plan
        if self.here.block is None:
            self.here.plain = self.blocks.open_plain(thread=self.here)

    def end_forward(self, output: Any) -> None:
        self._count_calls(in_forward=False)
        if torch.compiler.is_compiling():
            return
        here = self.here
        here.frame = None
        nodes = nodes_made_since(here.start, output)
        here.end_plain(nodes)
        self._hold(nodes)
        if nodes and not self.recomputes():
            note_plan(nodes, self.name, here.plan)

    def mixed_outside_of_forward(self, output: Tensor) -> None:
        """A place ran that the caller reached by itself."""
        here = self.here
        if not torch.compiler.is_compiling() and not here.in_forward and here.block is not None:
            self._hold(nodes_made_since(here.block.start, output))

    def _hold(self, nodes: list[Any]) -> None:
        """Have the graph of what ran keep the present block."""
        here = self.here
        if here.block is None or here.model is None or self.recomputes():
            return
        here.block.hold_by(nodes)
        if not nodes and here.model.training:
            # A checkpoint may run it without a graph, and again with one.
            here.block.must_last = True

    def _count_calls(self, in_forward: bool) -> None:
        if torch.compiler.is_compiling() and is_in_traced_checkpoint():
            return
        here = self.here
        here.in_forward = in_forward
        for record in here.records.values():
            record.calls = 0

    def recomputes(self) -> bool:
        """Whether a backward runs that began since the block did."""
        return backward_id() not in (NO_BACKWARD, self.here.backward)

    def orders(self, record: Record, calls: Calls | None) -> Orders | None:
        """What the features at the place of `record` have to go through now; None: they stay plain.

        Raises:
            RuntimeError: the place runs more than once in a forward, and `calls` does not say which are mixed; or the
                plan of a recomputation is lost.
        """
        if torch.compiler.is_compiling():
            return self._orders_in_compiled_code(record, calls)
        here = self.here
        here.end_what_was_broken_off()
        if self.recomputes():
            return self._orders_of_recomputation(record, calls)
        if here.plan is None or here.model is None:
            return None
        training, orders = here.model.training, record.orders
        is_idle = orders is None or orders.draw.idle
        takes_part = self._takes_part(record, "all" if is_idle else calls, training)
        if here.block is not None:  # None: the block is in compiled code, and this place in what it leaves to Python.
            here.block.modes.add(training)
            here.block.calls[record.place] = max(here.block.calls[record.place], record.calls)
        if training and not recomputations_can_be_told() and is_in_checkpoint():
            raise lacks("a forward that runs again during backward finds its plan", "Use no activation checkpointing")
        return orders if takes_part and not is_idle else None

    def _orders_in_compiled_code(self, record: Record, calls: Calls | None) -> Orders | None:
        here = self.here
        if here.plan is None or here.model is None:
            return None
        takes_part = here.model.training
        if is_in_traced_checkpoint():
            self._note(record.place, self.name)
            _check_calls_need_no_count(record, calls)
        else:
            _check_not_in_eager_checkpoint(here.automatic is not None)
            takes_part = self._takes_part(record, calls, takes_part)
        # It must not look at `idle`: it would need a graph for each place.
        return record.orders if takes_part else None

    def _takes_part(self, record: Record, calls: Calls | None, training: bool) -> bool:
        """Note that a place runs; returns whether the plan is for this call."""
        here = self.here
        assert here.plan is not None
        use = here.plan.use
        if here.in_forward:
            record.calls += 1
        if not training:
            record.ran = use.met_eval_mode = True
            return False
        if not _is_chosen(record, calls):
            return False
        record.ran = use.features_were_mixed = True
        return True

    def _orders_of_recomputation(self, record: Record, calls: Calls | None) -> Orders | None:
        place, block = record.place, self.blocks.of_recomputation()
        if block is None:
            return None
        if len(block.modes) > 1:
            raise RuntimeError(
                "a forward in train and one in eval mode ran in one block, so the plan of this recomputation is lost. "
                "Use a block of its own for each: with site.using(plan): ..."
            )
        if block.modes != {True}:
            return None
        if self.here.in_forward:  # The whole model is recomputed, so calls count from its start.
            record.calls += 1
            return block.orders(place) if _is_chosen(record, calls) else None
        if calls not in (None, "all") and block.calls[place] > 1:
            raise RuntimeError(
                f"a part of the model with {place!r} is recomputed, which ran {block.calls[place]} times, so it cannot "
                f'be told whether this is the call that calls={calls!r} means. Use calls="all", attach to another '
                "place, or run this part of the model without activation checkpointing."
            )
        return block.orders(place)


def _is_chosen(record: Record, calls: Calls | None) -> bool:
    """Whether the call that runs, the first of its forward or a later one, is mixed; 0: it is in no forward."""
    if calls == "all" or record.calls == 0:
        return True
    if calls is None:
        if record.calls > 1:
            raise RuntimeError(
                f"{record.place!r} runs more than once in one forward; its features would be mixed each time, labels "
                'once. Say which calls are mixed, with attach(..., calls="first"), calls="all", or an index from 0; '
                "torchmoments.places(model, x) counts them."
            )
        return True
    return record.calls == 1 + (0 if calls == "first" else calls)


def _check_calls_need_no_count(record: Record, calls: Calls | None) -> None:
    if calls not in (None, "all"):
        raise RuntimeError(
            f"calls={calls!r} cannot be counted at {record.place!r} inside an activation checkpoint that is compiled. "
            'Use calls="all", or attach to another place.'
        )


@at_trace_time
def _check_not_in_eager_checkpoint(is_automatic: bool) -> bool:
    if is_in_checkpoint():
        what = (
            "compiled code with an attached place runs in an activation checkpoint that is not compiled: its "
            "recomputation takes the plan in use at the backward"
        )
        if is_automatic:
            raise RuntimeError(f"{what}, and none is. Compile what calls checkpoint, or attach to another place.")
        warn(f"{what}. Call backward inside the block, or compile what calls checkpoint.")
    return True


def _noting_in(places: set[str]) -> Callable[[str, str], bool]:
    @at_trace_time
    def note(place: str, _name: str) -> bool:
        places.add(place)
        return True

    return note
