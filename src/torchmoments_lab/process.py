"""How a process of our own is set up: one that imports PyTorch, one that trains, one that speaks to a terminal."""

import _thread
import codecs
import ctypes
import gc
import io
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import FrameType, ModuleType
from typing import NoReturn

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


_LETTERS = {"±": "+-", "\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "→": "->", "…": "...", "\N{NO-BREAK SPACE}": " "}
# In none, rich prints nothing; in less than eight, tyro's help takes all memory.
_FEW_COLUMNS = 20

# Ctrl-C, what a scheduler sends before it kills, and what comes when a terminal is closed.
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SECONDS_OF_ONE = 2
# Schedulers kill half a minute after their signal, and a person waits less long.
_SECONDS_OF_A_STEP = 5


class Terminated(SystemExit):
    """A signal came that ends the process. The exit code is 128 and its number, as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def is_first_rank() -> bool:
    """Whether this process is the one that writes and speaks. torchrun starts the others with RANK, Fabric with
    LOCAL_RANK."""
    return int(os.environ.get("WORLD_SIZE") or 1) < 2 or int(os.environ.get("RANK") or os.environ["LOCAL_RANK"]) == 0


@contextmanager
def exits_are_errors() -> Iterator[None]:
    """A `sys.exit` of a user's code fails what called it, and does not end the process as if all were done."""
    try:
        yield
    except Terminated:
        raise
    except SystemExit as end:
        raise RuntimeError(f"sys.exit({'' if end.code is None else repr(end.code)}) was called") from end


class _Ending:
    """Handles the signals that end the process: raises in the main thread, or after the step that runs there."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._seconds_to_wait: float | None = None
        self._later: threading.Timer | None = None
        self._noted: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Schedulers and shells send it twice: to the process, and to its group.
        if time.monotonic() - self._last <= _SECONDS_OF_ONE:
            return
        self._last = time.monotonic()
        if self._seconds_to_wait is not None and self._noted is None:
            self._noted = number
            self._again(number, self._seconds_to_wait)
            return
        self._end(number)

    def _end(self, number: int) -> NoReturn:
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    def swallowed(self, error: KeyboardInterrupt | Terminated) -> None:
        """What Python swallows, as it does in a __del__, is raised once more a little later."""
        self._again(error.number if isinstance(error, Terminated) else signal.SIGINT, 0.05)

    @contextmanager
    def in_steps(self, seconds: float) -> Iterator[Callable[[], bool]]:
        self._seconds_to_wait = seconds
        try:
            yield self._has_come
        finally:
            self._has_come()
            self._seconds_to_wait = None
            number, self._noted = self._noted, None
            if number is not None:
                self._end(number)

    def _has_come(self) -> bool:
        if self._noted is not None and self._later is not None:
            # What is done now may take its time.
            self._later.cancel()
        return self._noted is not None

    def _again(self, number: int, seconds: float) -> None:
        def interrupt() -> None:
            self._last = -math.inf
            _thread.interrupt_main(signal.Signals(number))

        self._later = threading.Timer(seconds, interrupt)
        self._later.daemon = True
        self._later.start()


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Signals that end the process raise `Terminated` in the block, as Ctrl-C raises KeyboardInterrupt; both only once.

    So workers are killed, and half-made files removed. A signal that has a handler, or is ignored as under nohup, stays
    as it is; all do in a thread, where Python sets no handler.
    """
    ending = _Ending()

    def again(unraisable: "sys.UnraisableHookArgs") -> None:
        error = unraisable.exc_value
        if isinstance(error, KeyboardInterrupt | Terminated):
            ending.swallowed(error)
        else:
            hook(unraisable)

    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPPING} if is_main else {}
    ours = {n: handler for n, handler in handlers.items() if handler in (signal.SIG_DFL, signal.default_int_handler)}
    hook, sys.unraisablehook = sys.unraisablehook, again
    for number in ours:
        signal.signal(number, ending)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


@contextmanager
def ending_after_a_step(seconds: float = _SECONDS_OF_A_STEP) -> Iterator[Callable[[], bool]]:
    """In the block, signals that `ending_in_order` handles wait for the end of a step, but no longer than this.

    Yields a function to call after each step: whether one has come, so that the block is to save what it has, and end.
    The signal is raised at its end. A second signal is raised at once, and so is one that no step ends after.
    """
    ending = next((handler for handler in map(signal.getsignal, STOPPING) if isinstance(handler, _Ending)), None)
    if ending is None or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    with ending.in_steps(seconds) as has_come:
        yield has_come


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Ctrl-C and signals that end the process wait until the block ends; in processes started in it, for ever."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent() -> None:
    """Ctrl-C and signals that end the process have no effect on this one; processes that it starts see them."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def accept_any_terminal() -> None:
    """Whatever encoding and width the terminal has, and whatever figures the environment asks for: nothing fails."""
    codecs.register_error("torchmoments", _in_other_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="torchmoments")
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < _FEW_COLUMNS:
        del os.environ["COLUMNS"]
    # No figure is shown in a window, and the backend of a notebook is not there in every environment.
    os.environ["MPLBACKEND"] = "agg"


def _in_other_letters(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for a character that the encoding lacks; a byte of a file's name is written as it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), end
    return _LETTERS.get(character) or ascii(character)[1:-1], end


@contextmanager
def without_collector() -> Iterator[None]:
    """Import in this block, a quarter faster: the garbage collector walks over 600,000 new objects again and again.

    What is there at its end is left out of later rounds, which took 0.3 seconds after each run.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_fabric() -> None:
    """Import Lightning Fabric, and PyTorch's compiler with it, which the first optimizer would import anyway.

    Where torchmetrics is installed, Fabric imports it to read its version, and it imports torchvision and transformers:
    that takes longer than all the rest. Meanwhile something else stands in its place that has its version alone.
    """
    try:
        with _nothing_but_the_version_of("torchmetrics"):
            import lightning_fabric
    except ImportError:
        # Another version of Fabric may need more of it.
        import lightning_fabric  # noqa: F401


@contextmanager
def _nothing_but_the_version_of(package: str) -> Iterator[None]:
    try:
        found = version(package)
    except PackageNotFoundError:
        found = None
    if found is None or package in sys.modules:
        yield
        return
    stand_in = ModuleType(package)
    stand_in.__version__ = found  # type: ignore[attr-defined]
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


def malloc_settings() -> dict[str, str]:
    """What the environment tells glibc's malloc."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")}


def keep_memory() -> None:
    """Let malloc keep what is freed, for the next step.

    glibc gives large blocks back to the system, which clears their pages when they are asked for again: a tenth of the
    time of a training step on a CPU. Nothing is done elsewhere, or if the environment has settings of its own.
    """
    if malloc_settings():
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_memory_back() -> None:
    """Let malloc give back what is free now, of which `keep_memory` has it keep all."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
