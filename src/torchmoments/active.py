"""Which plan a place has to follow now: that in use in this thread, or, in a recomputation, that of its own forward."""

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from torchmoments.blocks import Block, Blocks, Masks, Orders, orders_of
from torchmoments.draw import Plan
from torchmoments.torch_internals import (
    NO_BACKWARD,
    at_trace_time,
    backward_id,
    is_in_checkpoint,
    is_in_traced_checkpoint,
    lacks,
    recomputations_can_be_told,
)

Calls = Literal["first", "all"] | int


class Record:
    """What a place did: whether it ran in the present block, and how often in the present forward."""

    def __init__(self) -> None:
        self.ran = False
        self.calls = 0


class Present:
    """The plan in use in one thread, and what the places did with it.

    The compiler replays what traced code writes to its attributes, so that compiled code says here, too, what ran.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.plan: Plan | None = None
        self.mask: Masks | None = None
        self.model: nn.Module | None = None
        self.block: Block | None = None
        self.backward = NO_BACKWARD
        self.in_forward = False
        self.records = {place: Record() for place in places}


class _PerThread(threading.local):
    # Only what it refers to is written to: the compiler loses what traced code writes to a threading.local itself.
    def __init__(self, places: Sequence[str]) -> None:
        self.present = Present(places)


class ActivePlan:
    """What the places of one site share. A copy or an unpickled one starts with nothing in use."""

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        self._threads = _PerThread(self.places)
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

    def enter(self, plan: Plan | None, mask: Masks | None, model: nn.Module) -> tuple[Any, ...]:
        """Put a plan in use in this thread; returns what was in use, for `leave`."""
        here = self.here
        ran = [record.ran for record in here.records.values()]
        before = (here.plan, here.mask, here.model, here.block, here.backward, ran)
        here.plan, here.mask, here.model = plan, mask, model
        for record in here.records.values():
            record.ran = False
        if not torch.compiler.is_compiling():
            here.backward = backward_id()
            here.block = self.blocks.open(plan, mask)
        return before

    def leave(self, before: tuple[Any, ...]) -> set[str]:
        """Put back what was in use before; returns the places that ran, as far as it is known."""
        here = self.here
        ran: set[str] = set()
        if not torch.compiler.is_compiling():
            ran = {place for place, record in here.records.items() if record.ran} | self.compiled_in_checkpoints
            if here.block is not None:
                here.block.close()
        here.plan, here.mask, here.model, here.block, here.backward, had_run = before
        for record, value in zip(here.records.values(), had_run, strict=True):
            record.ran = value
        return ran

    def count_calls(self, in_forward: bool) -> None:
        """A forward of the whole model begins or ends: calls of places are counted from 0 within one."""
        if torch.compiler.is_compiling() and is_in_traced_checkpoint():
            return
        here = self.here
        here.in_forward = in_forward
        for record in here.records.values():
            record.calls = 0

    def orders(self, place: str, calls: Calls | None) -> Orders | None:
        """What the features at `place` have to go through now; None: they stay plain.

        Raises:
            RuntimeError: the place runs more than once in a forward, and `calls` does not say which are mixed; or the
                plan of a recomputation is lost.
        """
        if torch.compiler.is_compiling():
            return self._orders_in_compiled_code(place, calls)
        here = self.here
        if backward_id() not in (NO_BACKWARD, here.backward):
            return self._orders_of_recomputation(place, calls)
        if here.plan is None or here.model is None or here.block is None:
            return None
        training = here.model.training
        orders = orders_of(here.plan.draws, here.mask, place)
        takes_part = self._takes_part(place, "all" if orders is None else calls, training)
        here.block.modes.add(training)
        here.block.calls[place] = max(here.block.calls[place], here.records[place].calls)
        if training and not recomputations_can_be_told() and is_in_checkpoint():
            raise lacks("a forward that runs again during backward finds its plan", "Use no activation checkpointing")
        return orders if takes_part else None

    def _orders_in_compiled_code(self, place: str, calls: Calls | None) -> Orders | None:
        here = self.here
        if here.plan is None or here.model is None:
            return None
        takes_part = here.model.training
        if is_in_traced_checkpoint():
            self._note(place, self.name)
            _check_calls_need_no_count(place, calls)
        else:
            takes_part = self._takes_part(place, calls, takes_part)
        return orders_of(here.plan.draws, here.mask, place) if takes_part else None

    def _takes_part(self, place: str, calls: Calls | None, training: bool) -> bool:
        """Note that a place runs; returns whether the plan is for this call."""
        here = self.here
        assert here.plan is not None
        record, use = here.records[place], here.plan.use
        if here.in_forward:
            record.calls += 1
        if not training:
            record.ran = use.met_eval_mode = True
            return False
        if not _is_chosen(place, calls, record.calls):
            return False
        record.ran = use.features_were_mixed = True
        return True

    def _orders_of_recomputation(self, place: str, calls: Calls | None) -> Orders | None:
        block = self.blocks.of_recomputation()
        if block is None:
            return None
        if len(block.modes) > 1:
            raise RuntimeError(
                "a forward in train and one in eval mode ran in one block, so the plan of this recomputation is lost. "
                "Use a block of its own for each: with site.using(plan): ..."
            )
        if block.modes != {True}:
            return None
        here = self.here
        if here.in_forward:  # The whole model is recomputed, so calls count from its start.
            here.records[place].calls += 1
            return block.orders(place) if _is_chosen(place, calls, here.records[place].calls) else None
        if calls not in (None, "all") and block.calls[place] > 1:
            raise RuntimeError(
                f"a part of the model with {place!r} is recomputed, which ran {block.calls[place]} times, so it cannot "
                f'be told whether this is the call that calls={calls!r} means. Use calls="all", attach to another '
                "place, or run this part of the model without activation checkpointing."
            )
        return block.orders(place)


def _is_chosen(place: str, calls: Calls | None, number: int) -> bool:
    """Whether the call with this number in its forward, from 1, is mixed; 0: it is in no forward of the model."""
    if calls == "all" or number == 0:
        return True
    if calls is None:
        if number > 1:
            raise RuntimeError(
                f"{place!r} runs more than once in one forward; its features would be mixed each time, labels once. "
                'Say which calls are mixed, with attach(..., calls="first"), calls="all", or an index from 0; '
                "torchmoments.places(model, x) counts them."
            )
        return True
    return number == 1 + (0 if calls == "first" else calls)


def _check_calls_need_no_count(place: str, calls: Calls | None) -> None:
    if calls not in (None, "all"):
        raise RuntimeError(
            f"calls={calls!r} cannot be counted at {place!r} inside an activation checkpoint that is compiled. "
            'Use calls="all", or attach to another place.'
        )


def _noting_in(places: set[str]) -> Callable[[str, str], bool]:
    @at_trace_time
    def note(place: str, _name: str) -> bool:
        places.add(place)
        return True

    return note
