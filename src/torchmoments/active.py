"""Which plan a place follows now: the thread's active plan or, in a recomputation, that of the original forward."""

import threading
import uuid
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchmoments.blocks import Block, Blocks, Instruction, Masks, instruction_for
from torchmoments.draw import Plan
from torchmoments.outputs import nodes_made_since, record_plan
from torchmoments.planner import Planner
from torchmoments.thread_state import PlaceRecord, StatePerThread, ThreadState
from torchmoments.torch_internals import (
    NO_BACKWARD,
    backward_id,
    can_identify_recomputations,
    constant_when_traced,
    is_in_checkpoint,
    is_in_traced_checkpoint,
    is_traced_or_exported,
    missing_internals,
    next_node_number,
)
from torchmoments.warn import warn

Calls = Literal["first", "all"] | int


class PlaceRecordPerThread(threading.local):
    """The record of one place in the current thread.

    Looking it up by name would specialize compiled code to that place; separately compiled blocks of a model share
    their code.
    """

    def __init__(self, active: "ActivePlan", place: str) -> None:
        self.record = active.state.records[place]
        self._of = (active, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return (PlaceRecordPerThread, self._of)


class ActivePlan:
    """The state shared by the places of one site. A copy or an unpickled one has no plan, and draws nothing."""

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        self._threads = StatePerThread(self.places)
        self.planner: Planner | None = None  # draws for forwards outside any block; None if not automatic
        self.blocks = Blocks()
        # Inside a compiled checkpoint nothing can be written at run time, so places are noted while tracing; code is
        # recompiled for each of these names.
        self.name = uuid.uuid4().hex
        self.compiled_in_checkpoints: set[str] = set()
        self._note = _noting_in(self.compiled_in_checkpoints)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ActivePlan, (self.places,))

    @property
    def state(self) -> ThreadState:
        return self._threads.state

    def draws_for(self, module: nn.Module) -> bool:
        """Whether a forward with gradients draws automatically, given a module whose mode is that of training."""
        return self.planner is not None and self.state.model is None and module.training and not is_traced_or_exported()

    def forget(self) -> None:
        """Release the plans and masks of earlier forwards; nothing will run again."""
        self.blocks = Blocks()

    def enter(self, plan: Plan | None, mask: Masks | None, model: nn.Module) -> tuple[tuple[Any, ...], Block | None]:
        """Activate a plan in this thread; returns the previous state and the new block, for `leave`."""
        state = self.state
        if not torch.compiler.is_compiling():
            state.end_aborted_forward()
        records = [(record.instruction, record.ran) for record in state.records.values()]
        before = (state.plan, state.model, state.block, state.backward, state.in_forward, records)
        state.plan, state.model = plan, model
        for place, record in state.records.items():
            record.instruction, record.ran = None if plan is None else instruction_for(plan.draws, mask, place), False
        if not torch.compiler.is_compiling():
            state.backward = backward_id()
            state.block = self.blocks.open(plan, mask, thread=state)
        return before, state.block

    def leave(self, before: tuple[Any, ...], block: Block | None) -> set[str]:
        """Restore the previous state; returns the places that ran, as far as is known.

        Raises:
            RuntimeError: a block that began later has not ended.
        """
        state = self.state
        ran: set[str] = set()
        if not torch.compiler.is_compiling():
            ran = {place for place, record in state.records.items() if record.ran} | self.compiled_in_checkpoints
            if block is not state.block:
                state.plan = state.model = state.block = None
                raise RuntimeError(
                    "blocks of one site need to be left in the reverse order in which they were entered; one was left "
                    "before another inside it. Use `with site.using(plan):` in one function that is not a generator."
                )
            if state.block is not None:
                state.block.close()
        state.plan, state.model, state.block, state.backward, state.in_forward, records = before
        for record, (instruction, had_run) in zip(state.records.values(), records, strict=True):
            record.instruction, record.ran = instruction, had_run
        return ran

    def begin_forward(self, frame: FrameType | None = None) -> None:
        """Begin a forward of the whole model: calls of places are counted from 0.

        Args:
            frame: the caller of the forward; None if it is compiled.
        """
        self._count_calls(in_forward=True)
        if not torch.compiler.is_compiling():
            self.state.frame, self.state.first_node = frame, next_node_number()
        if torch.compiler.is_compiling() or not torch.is_grad_enabled() or self.recomputes():
            return
        self.state.last_plan = self.state.plan
        if self.state.block is None:
            self.state.plain_block = self.blocks.open_plain(thread=self.state)

    def end_forward(self, output: Any) -> None:
        self._count_calls(in_forward=False)
        if torch.compiler.is_compiling():
            return
        state = self.state
        state.frame = None
        nodes = nodes_made_since(state.first_node, output)
        state.end_plain_block(nodes)
        self._keep_block_alive(nodes)
        if nodes and not self.recomputes():
            record_plan(nodes, self.name, state.plan)

    def after_mixing(self, output: Tensor) -> None:
        """Keep the block alive if a place ran outside a forward of the whole model."""
        state = self.state
        if not torch.compiler.is_compiling() and not state.in_forward and state.block is not None:
            self._keep_block_alive(nodes_made_since(state.block.start, output))

    def _keep_block_alive(self, nodes: list[Any]) -> None:
        """Let the autograd graph of what ran keep the current block alive."""
        state = self.state
        if state.block is None or state.model is None or self.recomputes():
            return
        state.block.keep_alive_by(nodes)
        if not nodes and state.model.training:
            # A checkpoint may run it without a graph, and later recompute it with one.
            state.block.keep_after_close = True

    def _count_calls(self, in_forward: bool) -> None:
        if torch.compiler.is_compiling() and is_in_traced_checkpoint():
            return
        state = self.state
        state.in_forward = in_forward
        for record in state.records.values():
            record.calls = 0

    def recomputes(self) -> bool:
        """Whether a backward is running that began after the block."""
        return backward_id() not in (NO_BACKWARD, self.state.backward)

    def instruction(self, record: PlaceRecord, calls: Calls | None) -> Instruction | None:
        """Return how the features at the place of `record` are mixed now; None if they are not.

        Raises:
            RuntimeError: the place runs more than once in a forward, and `calls` does not select which calls are mixed;
                or the plan of a recomputation is lost.
        """
        if torch.compiler.is_compiling():
            return self._instruction_in_compiled_code(record, calls)
        state = self.state
        state.end_aborted_forward()
        if self.recomputes():
            return self._instruction_of_recomputation(record, calls)
        if state.plan is None or state.model is None:
            return None
        training, instruction = state.model.training, record.instruction
        is_idle = instruction is None or instruction.draw.idle
        takes_part = self._takes_part(record, "all" if is_idle else calls, training)
        if state.block is not None:  # None: compiled block, uncompiled place.
            state.block.modes.add(training)
            state.block.calls[record.place] = max(state.block.calls[record.place], record.calls)
        if training and not can_identify_recomputations() and is_in_checkpoint():
            raise missing_internals(
                "a forward that is recomputed during backward finds its plan", "Do not use activation checkpointing"
            )
        return instruction if takes_part and not is_idle else None

    def _instruction_in_compiled_code(self, record: PlaceRecord, calls: Calls | None) -> Instruction | None:
        state = self.state
        if state.plan is None or state.model is None:
            return None
        takes_part = state.model.training
        if is_in_traced_checkpoint():
            self._note(record.place, self.name)
            _check_calls_need_no_count(record, calls)
        else:
            _check_not_in_eager_checkpoint(state.automatic_block is not None)
            takes_part = self._takes_part(record, calls, takes_part)
        # Do not read `idle` here: each place would need its own graph.
        return record.instruction if takes_part else None

    def _takes_part(self, record: PlaceRecord, calls: Calls | None, training: bool) -> bool:
        """Record that a place runs; returns whether the plan applies to this call."""
        state = self.state
        assert state.plan is not None
        use = state.plan.use
        if state.in_forward:
            record.calls += 1
        if not training:
            record.ran = use.ran_in_eval = True
            return False
        if not _is_chosen(record, calls):
            return False
        record.ran = use.features_were_mixed = True
        return True

    def _instruction_of_recomputation(self, record: PlaceRecord, calls: Calls | None) -> Instruction | None:
        place, block = record.place, self.blocks.of_recomputation()
        if block is None:
            return None
        if len(block.modes) > 1:
            raise RuntimeError(
                "a forward in train and one in eval mode ran in one block, so the plan of this recomputation is lost. "
                "Use a separate block for each: with site.using(plan): ..."
            )
        if block.modes != {True}:
            return None
        if self.state.in_forward:  # The whole model is recomputed, so its calls are counted.
            record.calls += 1
            return block.instruction(place) if _is_chosen(record, calls) else None
        if calls not in (None, "all") and block.calls[place] > 1:
            raise RuntimeError(
                f"a part of the model with {place!r} is recomputed, which ran {block.calls[place]} times, so it is "
                f'unknown whether calls={calls!r} selects this call. Use calls="all", attach to another place, or run '
                "this part of the model without activation checkpointing."
            )
        return block.instruction(place)


def _is_chosen(record: PlaceRecord, calls: Calls | None) -> bool:
    """Whether the current call is mixed; `record.calls` is 1 for the first call in a forward, 0 outside of one."""
    if calls == "all" or record.calls == 0:
        return True
    if calls is None:
        if record.calls > 1:
            raise RuntimeError(
                f"{record.place!r} runs more than once in one forward; its features would be mixed each time, labels "
                'once. Choose which calls are mixed: calls="first", calls="all", or an index from 0; '
                "torchmoments.places(model, x) counts them."
            )
        return True
    return record.calls == 1 + (0 if calls == "first" else calls)


def _check_calls_need_no_count(record: PlaceRecord, calls: Calls | None) -> None:
    if calls not in (None, "all"):
        raise RuntimeError(
            f"calls={calls!r} cannot be counted at {record.place!r} inside an activation checkpoint that is compiled. "
            'Use calls="all", or attach to another place.'
        )


@constant_when_traced
def _check_not_in_eager_checkpoint(is_automatic: bool) -> bool:
    if is_in_checkpoint():
        what = (
            "compiled code with an attached place runs in an activation checkpoint that is not compiled: its "
            "recomputation uses the plan that is active during backward"
        )
        if is_automatic:
            raise RuntimeError(
                f"{what}, and none is. Compile the function that calls checkpoint, or attach to another place."
            )
        warn(f"{what}. Call backward inside the block, or compile the function that calls checkpoint.")
    return True


def _noting_in(places: set[str]) -> Callable[[str, str], bool]:
    @constant_when_traced
    def note(place: str, _name: str) -> bool:
        places.add(place)
        return True

    return note
