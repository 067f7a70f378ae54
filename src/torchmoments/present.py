"""What is in use in a thread now, and what the places of a site have to do, and did."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from torch import nn

from torchmoments.blocks import Block, Orders
from torchmoments.draw import Plan
from torchmoments.torch_internals import NO_BACKWARD


class Record:
    """What a place has to do in the present block, whether it ran in it, and how often in the present forward."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.orders: Orders | None = None
        self.ran = False
        self.calls = 0


class Present:
    """The plan in use in one thread, and what the places did with it.

    The compiler replays what traced code writes to its attributes, so that compiled code says here, too, what ran.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.plan: Plan | None = None
        self.model: nn.Module | None = None
        self.block: Block | None = None
        self.backward = NO_BACKWARD
        self.in_forward = False
        self.frame: FrameType | None = None  # that calls the forward, if it is not compiled
        self.start = 0  # number of the first node of the forward
        self.plain: Block | None = None  # the forward in no block
        self.automatic: AbstractContextManager[Plan | None] | None = None  # the block that is one forward
        self.automatic_size = 0  # the number of samples that it was drawn for
        self.last: Plan | None = None  # of the last forward with gradients
        self.records = {place: Record(place) for place in places}

    def end_what_was_broken_off(self) -> None:
        """PyTorch calls no hook after what is no Exception, such as Ctrl-C: then a forward is over without its end."""
        if self.frame is None or is_executing(self.frame):
            return
        self.frame, self.in_forward = None, False
        self.end_plain([])
        block, self.automatic = self.automatic, None
        if block is not None:
            block.__exit__(KeyboardInterrupt, None, None)

    def end_plain(self, nodes: list[Any]) -> None:
        """The forward in no block is over, if there is one; `nodes`: what it ended in."""
        if self.plain is not None:
            self.plain.hold_by(nodes)
            self.plain.close()
            self.plain = None


def is_executing(frame: FrameType) -> bool:
    """Whether a frame has not returned; if it has, what it held is let go."""
    try:
        frame.clear()
    except RuntimeError:
        return True
    return False


class PresentOfThread(threading.local):
    # Only what it refers to is written to: the compiler loses what traced code writes to a threading.local itself.
    def __init__(self, places: Sequence[str]) -> None:
        self.present = Present(places)
