"""A process that trains runs for another one: what it does first, and when it ends."""

import os
import signal
import threading
import time

from torchmoments.lab.process import keep_memory, without_collector


def start(parent: int) -> None:
    """Leave Ctrl-C to the parent, end when the parent has ended, however that happened, and import what runs need."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    keep_memory()
    with without_collector():
        # It imports PyTorch's compiler too, as the first optimizer would.
        import lightning_fabric  # noqa: F401

        import torchmoments.lab.runs  # noqa: F401


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)
