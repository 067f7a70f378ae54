"""The blocks in which plans were in use, and to which of them a recomputation belongs.

Activation checkpointing runs a module again during backward, when its `with` block may have ended and others may have
come. Every node of the autograd graph has a sequence number, counted up as the forwards of a thread run; a block
remembers the range it covered, and the node whose backward recomputes tells by its number to which block it belongs.
"""

import collections
import threading
import time
from typing import NamedTuple

import torch
from torch import Tensor

from torchmoments.draw import Draw, Plan
from torchmoments.torch_internals import next_node_number, recomputing_node_number

REMEMBERED = 256

Masks = Tensor | dict[str, Tensor]


class Orders(NamedTuple):
    """What a place has to do: the draw to mix by, and the mask of its positions if there is padding."""

    draw: Draw
    mask: Tensor | None


def orders_of(draws: dict[str, Draw], mask: Masks | None, place: str) -> Orders | None:
    """What the features at `place` have to go through by these draws; None: they stay plain."""
    draw = draws.get(place)
    # Compiled code must not look at `idle`: it would need a graph for each place.
    if draw is None or (not torch.compiler.is_compiling() and draw.idle):
        return None
    return Orders(draw, mask.get(place) if isinstance(mask, dict) else mask)


class Block:
    """A range of sequence numbers of one thread in which one plan was in use.

    It keeps the draws, not the plan, whose end tells that its labels can be mixed no more.
    """

    def __init__(self, plan: Plan | None, mask: Masks | None) -> None:
        self.draws = None if plan is None else plan.draws
        self.mask = mask
        self.thread = threading.get_ident()
        self.start, self.began = next_node_number(), time.monotonic_ns()
        self.end: int | None = None
        self.ended: int | None = None
        self.modes: set[bool] = set()  # of the model, in the forwards of this block
        self.calls: collections.Counter[str] = collections.Counter()  # the most of a place in one forward

    def close(self) -> None:
        self.end, self.ended = next_node_number(), time.monotonic_ns()

    def covers(self, number: int) -> bool:
        return self.start <= number and (self.end is None or number < self.end)

    def ran_beside(self, other: "Block") -> bool:
        """Whether another thread was in `other`, with other draws, while this block was open."""
        return (
            self.thread != other.thread
            and self.draws is not other.draws
            and (self.ended is None or self.ended > other.began)
            and (other.ended is None or other.ended > self.began)
        )

    def orders(self, place: str) -> Orders | None:
        return None if self.draws is None else orders_of(self.draws, self.mask, place)


class Blocks:
    """The last blocks of all threads, in the order in which they began."""

    def __init__(self) -> None:
        self._blocks: collections.deque[Block] = collections.deque()
        self._lock = threading.Lock()
        self._forgotten = -1

    def open(self, plan: Plan | None, mask: Masks | None) -> Block:
        block = Block(plan, mask)
        with self._lock:
            self._blocks.append(block)
            if len(self._blocks) > REMEMBERED:
                self._forgotten = max(self._forgotten, self._blocks.popleft().end or 0)
        return block

    def of_recomputation(self) -> Block | None:
        """The block of the forward that runs again now; None: it was in no block.

        Raises:
            RuntimeError: it cannot be told.
        """
        number = recomputing_node_number()
        with self._lock:
            covering = [block for block in self._blocks if block.covers(number)]
        if not covering and number < self._forgotten:
            raise RuntimeError(
                f"the plan of this recomputed forward is lost: more than {REMEMBERED} blocks were used since. "
                "Call backward sooner, or run this part of the model without activation checkpointing."
            )
        if not covering:
            return None
        # Blocks nest: the innermost began last. So did the one of this step if each step runs in a thread of its own,
        # which counts from 0.
        block = covering[-1]
        if any(block.ran_beside(other) for other in covering):
            raise RuntimeError(
                "two threads ran forwards of one site at the same time, so the plan of this recomputation cannot be "
                "told. Run them one after the other, or give each thread a copy of (model, site)."
            )
        return block
