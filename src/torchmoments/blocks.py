"""The blocks in which plans were in use, and to which of them a recomputation belongs.

Activation checkpointing runs a module again during backward, when its `with` block may have ended and others may have
come. Every node of the autograd graph has a sequence number, counted up as the forwards of a thread run; a block
remembers the range it covered, and the node whose backward recomputes tells by its number to which block it belongs.
Threads count for themselves. So the graph of a block's forwards keeps what a recomputation needs: a block whose graph
is gone is not the one.
"""

import collections
import threading
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from torchmoments.draw import Draw, Plan
from torchmoments.torch_internals import next_node_number, recomputing_node_number

REMEMBERED = 256

_KEY = "torchmoments"  # in the metadata of a node

Masks = Tensor | dict[str, Tensor | None]


class Orders(NamedTuple):
    """What a place has to do: the draw to mix by, and the mask of its positions if there is padding."""

    draw: Draw
    mask: Tensor | None


def orders_of(draws: dict[str, Draw], mask: Masks | None, place: str) -> Orders | None:
    """What the features at `place` have to go through by these draws; None: they stay plain."""
    draw = draws.get(place)
    return None if draw is None else Orders(draw, mask.get(place) if isinstance(mask, dict) else mask)


class Kept:
    """What a recomputation needs of a block. It is no plan, whose end tells that its labels can be mixed no more."""

    def __init__(self, plan: Plan | None, mask: Masks | None) -> None:
        self.draws = None if plan is None else plan.draws
        self.mask = None if plan is None else mask


class Block:
    """A range of sequence numbers of one thread in which one plan was in use."""

    def __init__(self, plan: Plan | None, mask: Masks | None, thread: object) -> None:
        self._kept: Kept | None = Kept(plan, mask)
        self._kept_by_graph = weakref.ref(self._kept)
        self._is_held = False
        self.must_last = False  # Some forward left no graph that could hold it.
        self.thread = thread
        self.start = next_node_number()
        self.end: int | None = None
        self.modes: set[bool] = set()  # of the model, in the forwards of this block
        self.calls: collections.Counter[str] = collections.Counter()  # the most of a place in one forward

    @property
    def kept(self) -> Kept | None:
        """None if the graph of its forwards is gone, so that nothing of it can be recomputed."""
        return self._kept_by_graph()

    def hold_by(self, nodes: Iterable[Any]) -> None:
        """Have these nodes of the graph hold what is kept."""
        for node in nodes:
            node.metadata.setdefault(_KEY, []).append(self.kept)
            self._is_held = True

    def close(self) -> None:
        self.end = next_node_number()
        if self._is_held and not self.must_last:
            self._kept = None

    def covers(self, number: int) -> bool:
        return self.start <= number and (self.end is None or number < self.end)

    def orders(self, place: str) -> Orders | None:
        kept = self.kept
        orders = None if kept is None or kept.draws is None else orders_of(kept.draws, kept.mask, place)
        return None if orders is None or orders.draw.idle else orders


class Blocks:
    """The last blocks of all threads, in the order in which they began."""

    def __init__(self) -> None:
        self._blocks: collections.deque[Block] = collections.deque()
        # Forwards in no block, which another thread's block must not be taken for.
        self._plain: collections.deque[Block] = collections.deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._forgotten = -1

    def open(self, plan: Plan | None, mask: Masks | None, thread: object) -> Block:
        """A block that begins now; `thread` is an object that this thread alone has, for its number may come again."""
        block = Block(plan, mask, thread)
        with self._lock:
            self._blocks.append(block)
            if len(self._blocks) > REMEMBERED:
                self._forgotten = max(self._forgotten, self._blocks.popleft().end or 0)
        return block

    def open_plain(self, thread: object) -> Block:
        block = Block(None, None, thread)
        with self._lock:
            self._plain.append(block)
        return block

    def of_recomputation(self) -> Block | None:
        """The block of the forward that runs again now; None: it was in no block.

        Raises:
            RuntimeError: it cannot be told.
        """
        number = recomputing_node_number()
        with self._lock:
            covering = [block for block in (*self._plain, *self._blocks) if block.covers(number)]
        # Blocks nest: of one thread's, the innermost began last.
        innermost = {block.thread: (block, kept) for block in covering if (kept := block.kept) is not None}
        found = list(innermost.values())
        if not found and (covering or number < self._forgotten):
            raise RuntimeError(
                "the plan of this recomputed forward is lost: what the model gave is gone, more than "
                f"{REMEMBERED} blocks were used since, or it ran in a thread of its own and in no block. Keep the "
                "output until backward, call backward sooner, or run a plain forward in `with site.using(None):`."
            )
        if len({id(kept.draws) for _, kept in found}) > 1:
            raise RuntimeError(
                "several threads ran forwards of one site, so the plan of this recomputation cannot be told. Call "
                "backward before the next thread's forward, or give each thread a copy of (model, site)."
            )
        return found[0][0] if found else None
