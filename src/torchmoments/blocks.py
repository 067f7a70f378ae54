"""The blocks in which plans were in use, and which of them a recomputation belongs to.

Activation checkpointing runs a module again during backward, when its `with` block may have ended and others may have
followed. Every node of the autograd graph has a sequence number, which increases as the forwards of a thread run. A
block stores its range of numbers, so the number of the node whose backward recomputes identifies the block. Each thread
counts separately, so ranges overlap. Therefore the graph of a block's forwards keeps alive what a recomputation needs:
a block whose graph is gone cannot be the one.
"""

import collections
import threading
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from torchmoments.draw import Draw, Plan
from torchmoments.torch_internals import next_node_number, recomputing_node_number

MAX_BLOCKS = 256

_KEY = "torchmoments"  # in the metadata of a node

Masks = Tensor | dict[str, Tensor | None]


class Instruction(NamedTuple):
    """What a place has to do: the draw to mix with, and the mask of its positions if there is padding."""

    draw: Draw
    mask: Tensor | None


def instruction_for(draws: dict[str, Draw], mask: Masks | None, place: str) -> Instruction | None:
    """Return what these draws mean for the features at `place`; None if they are not mixed."""
    draw = draws.get(place)
    return None if draw is None else Instruction(draw, mask.get(place) if isinstance(mask, dict) else mask)


class SavedForRecompute:
    """What a recomputation needs from a block. It does not keep the plan alive, whose end triggers checks of labels."""

    def __init__(self, plan: Plan | None, mask: Masks | None) -> None:
        self.draws = None if plan is None else plan.draws
        self.mask = None if plan is None else mask


class Block:
    """A range of sequence numbers of one thread in which one plan was in use."""

    def __init__(self, plan: Plan | None, mask: Masks | None, thread: object) -> None:
        self._saved: SavedForRecompute | None = SavedForRecompute(plan, mask)
        self._saved_ref = weakref.ref(self._saved)
        self._is_kept_alive = False
        self.keep_after_close = False  # Some forward left no graph that could keep it alive.
        self.thread = thread
        self.start = next_node_number()
        self.end: int | None = None
        self.modes: set[bool] = set()  # `training` of the model in the forwards of this block
        self.calls: collections.Counter[str] = collections.Counter()  # per place, the maximum in one forward

    @property
    def saved(self) -> SavedForRecompute | None:
        """What a recomputation needs; None if the graph of the forwards is gone, so nothing can be recomputed."""
        return self._saved_ref()

    def keep_alive_by(self, nodes: Iterable[Any]) -> None:
        """Store what a recomputation needs on these nodes of the graph."""
        for node in nodes:
            node.metadata.setdefault(_KEY, []).append(self.saved)
            self._is_kept_alive = True

    def close(self) -> None:
        self.end = next_node_number()
        if self._is_kept_alive and not self.keep_after_close:
            self._saved = None

    def covers(self, number: int) -> bool:
        return self.start <= number and (self.end is None or number < self.end)

    def instruction(self, place: str) -> Instruction | None:
        saved = self.saved
        instruction = None if saved is None or saved.draws is None else instruction_for(saved.draws, saved.mask, place)
        return None if instruction is None or instruction.draw.idle else instruction


class Blocks:
    """The most recent blocks of all threads, in the order in which they began."""

    def __init__(self) -> None:
        self._blocks: collections.deque[Block] = collections.deque()
        # Forwards outside any block, which must not be confused with another thread's block.
        self._plain: collections.deque[Block] = collections.deque(maxlen=MAX_BLOCKS)
        self._lock = threading.Lock()
        self._dropped_before = -1

    def open(self, plan: Plan | None, mask: Masks | None, thread: object) -> Block:
        """Begin a block; `thread` is an object unique to this thread, because thread ids are reused."""
        block = Block(plan, mask, thread)
        with self._lock:
            self._blocks.append(block)
            if len(self._blocks) > MAX_BLOCKS:
                self._dropped_before = max(self._dropped_before, self._blocks.popleft().end or 0)
        return block

    def open_plain(self, thread: object) -> Block:
        block = Block(None, None, thread)
        with self._lock:
            self._plain.append(block)
        return block

    def of_recomputation(self) -> Block | None:
        """Return the block of the forward that is being recomputed; None if it was outside any block.

        Raises:
            RuntimeError: the block cannot be identified.
        """
        number = recomputing_node_number()
        with self._lock:
            covering = [block for block in (*self._plain, *self._blocks) if block.covers(number)]
        # Blocks nest: within one thread, the innermost began last.
        innermost = {block.thread: (block, saved) for block in covering if (saved := block.saved) is not None}
        found = list(innermost.values())
        if not found and (covering or number < self._dropped_before):
            raise RuntimeError(
                "the plan of this recomputed forward is lost: the output of the model was deleted, more than "
                f"{MAX_BLOCKS} blocks were used since, or it ran in another thread outside any block. Keep the output "
                "until backward, call backward sooner, or run an unmixed forward in `with site.using(None):`."
            )
        if len({id(saved.draws) for _, saved in found}) > 1:
            raise RuntimeError(
                "several threads ran forwards of one site, so the plan of this recomputation is ambiguous. Call "
                "backward before the next thread's forward, or give each thread a copy of (model, site)."
            )
        return found[0][0] if found else None
