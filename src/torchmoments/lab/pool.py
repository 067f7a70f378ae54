"""Trainings side by side: one process a core, one thread each.

A worker that dies takes only its own run with it, and a worker ends by itself when its parent is gone.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pickle import PicklingError

from joblib.externals.loky import ProcessPoolExecutor

from torchmoments.lab.runs import Run

Finished = Callable[[Run, str | None], None]


def train_all(runs: Sequence[Run], workers: int, finished: Finished) -> None:
    """Train the runs, at most `workers` at a time, and call `finished(run, reason of a failure or None)` after each.

    One worker is this process itself. On any exception, KeyboardInterrupt too, the workers are killed at once.
    """
    if workers == 1:
        for run in runs:
            finished(run, run.train())
        return
    waiting = deque(runs)
    while waiting:
        # The pool does not tell whose worker died. Each run that was training gets a second chance, alone.
        for run in _train_until_a_worker_dies(waiting, workers, finished):
            if _train_until_a_worker_dies(deque([run]), 1, finished):
                reason = "its worker process died: it was killed, or out of memory"
                run.record_failure(reason)
                finished(run, reason)


def _train_until_a_worker_dies(waiting: deque[Run], workers: int, finished: Finished) -> list[Run]:
    """Take runs from `waiting` until it is empty; the runs that were training when a worker died, [] if none did."""
    training: dict[Future[str | None], Run] = {}
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(os.getpid(),))
    try:
        while waiting or training:
            # Never more than there are workers: what is submitted is what is training.
            while waiting and len(training) < workers:
                run = waiting.popleft()
                with _interrupt_held_back():
                    try:
                        training[pool.submit(run.train)] = run
                    except BrokenProcessPool:
                        waiting.appendleft(run)
                        return list(training.values())
            for future in wait(training, return_when=FIRST_COMPLETED).done:
                try:
                    reason = future.result()
                except BrokenProcessPool:
                    return list(training.values())
                except PicklingError as error:
                    # The cause is a traceback as text; its last line says what.
                    reason = str(error.__cause__ or error).strip('\n"').splitlines()[-1]
                    raise ValueError(
                        f"data and models need to be picklable for several workers; got {reason}. Use workers=1."
                    ) from error
                finished(training.pop(future), reason)
        return []
    finally:
        with _interrupt_held_back():
            pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Ctrl-C waits until the block ends. Processes started in it never see one: the parent answers, and kills them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(parent: int) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent has ended, however that happened."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)
