"""The state of a site in one thread: the plan in use, what each place has to do, and what it did."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from torch import nn

from torchmoments.blocks import Block, Instruction
from torchmoments.draw import Plan
from torchmoments.torch_internals import NO_BACKWARD


class PlaceRecord:
    """What a place has to do in the current block, whether it ran, and how often in the current forward."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.instruction: Instruction | None = None
        self.ran = False
        self.calls = 0


class ThreadState:
    """The plan in use in one thread, and what the places did with it.

    The compiler replays attribute writes of traced code, so compiled code can record what ran here too.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.plan: Plan | None = None
        self.model: nn.Module | None = None
        self.block: Block | None = None
        self.backward = NO_BACKWARD
        self.in_forward = False
        self.frame: FrameType | None = None  # the caller of the forward, if not compiled
        self.first_node = 0  # sequence number of the forward's first node
        self.plain_block: Block | None = None  # a forward outside any block
        self.automatic_block: AbstractContextManager[Plan | None] | None = None  # the block of one automatic draw
        self.automatic_batch_size = 0  # the number of samples it was drawn for
        self.last_plan: Plan | None = None  # the plan of the last forward with gradients
        self.records = {place: PlaceRecord(place) for place in places}

    def end_aborted_forward(self) -> None:
        """End a forward that was aborted: PyTorch calls no hooks after a BaseException such as KeyboardInterrupt."""
        if self.frame is None or is_executing(self.frame):
            return
        self.frame, self.in_forward = None, False
        self.end_plain_block([])
        block, self.automatic_block = self.automatic_block, None
        if block is not None:
            block.__exit__(KeyboardInterrupt, None, None)

    def end_plain_block(self, nodes: list[Any]) -> None:
        """End the forward outside any block, if there is one; `nodes` are the last nodes of its graph."""
        if self.plain_block is not None:
            self.plain_block.keep_alive_by(nodes)
            self.plain_block.close()
            self.plain_block = None


def is_executing(frame: FrameType) -> bool:
    """Whether a frame is still executing; if not, its references are released."""
    try:
        frame.clear()
    except RuntimeError:
        return True
    return False


class StatePerThread(threading.local):
    # Only the object it refers to is modified: the compiler loses attribute writes to a threading.local itself.
    def __init__(self, places: Sequence[str]) -> None:
        self.state = ThreadState(places)
