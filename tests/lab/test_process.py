import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from torchmoments_lab import process
from torchmoments_lab.process import Terminated, ending_after_a_step, ending_in_order

PROGRAM = """
from torchmoments_lab.process import give_memory_back, keep_memory
keep_memory()
import numpy as np

def pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

block = np.ones(2**23)
held = pages()
del block
print(held - pages())
give_memory_back()
print(held - pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")
def test_memory_is_kept_for_the_next_step_unless_the_environment_says_how():
    def given_back(**settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment | settings, capture_output=True, text=True, check=True
        )
        return [int(pages) for pages in done.stdout.split()]

    pages_of_the_block = 2**26 // os.sysconf("SC_PAGE_SIZE")
    at_once, asked_for = given_back()
    assert at_once < 0.1 * pages_of_the_block
    assert asked_for > 0.9 * pages_of_the_block
    assert given_back(MALLOC_ARENA_TEST="8")[0] > 0.9 * pages_of_the_block


class Deaf:
    """Python swallows what is raised in a __del__: the readers of a DataLoader are ended in one, for example."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@pytest.fixture
def handled():
    """Signals as a shell leaves them, whoever started the tests."""
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize(("number", "stop"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_python_swallows_stops_all_the_same(number, stop, capsys):
    def work():
        with ending_in_order():
            Deaf(number)
            # Python handles a signal between two sleeps; none is cut short.
            for _ in range(1000):
                time.sleep(0.01)

    hook = sys.unraisablehook
    with pytest.raises(stop):
        work()
    assert sys.unraisablehook == hook
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("handled")
def test_a_second_signal_does_not_disturb_what_the_first_one_began():
    cleaned = []

    def work():
        with ending_in_order():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                cleaned.append(True)

    with pytest.raises(Terminated) as stop:
        work()
    assert stop.value.code == 143
    assert cleaned


@pytest.mark.usefixtures("handled")
def test_a_signal_that_somebody_else_handles_is_left_to_them():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with ending_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def work_in_steps(seen, first=signal.SIGTERM, second=None, seconds=0.0, may=0.1):
    """What a training does whose process gets these signals in its second step, which takes so long and may take so
    long; `seen` are the steps that it ends."""
    with ending_in_order(), ending_after_a_step(may) as has_come:
        for number in range(4):
            if number == 1:
                signal.raise_signal(first)
                if second is not None:
                    signal.raise_signal(second)
                for _ in range(int(100 * seconds)):
                    time.sleep(0.01)
            seen.append(number)
            if has_come():
                # Saving takes longer than a step may.
                time.sleep(0.3)
                break
        seen.append("saved")


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize(("number", "stop"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_waits_for_the_end_of_the_step_and_is_raised_after_what_follows(number, stop):
    seen = []
    with pytest.raises(stop):
        work_in_steps(seen, number)
    assert seen == [0, 1, "saved"]
    # Nothing comes later.
    time.sleep(0.3)


@pytest.mark.usefixtures("handled")
def test_a_step_that_does_not_end_is_cut_short():
    seen = []
    with pytest.raises(Terminated):
        work_in_steps(seen, seconds=10)
    assert seen == [0]


@pytest.mark.usefixtures("handled")
def test_a_second_signal_does_not_wait(monkeypatch):
    monkeypatch.setattr(process, "_SECONDS_OF_ONE", -1)
    seen = []
    with pytest.raises(Terminated):
        work_in_steps(seen, second=signal.SIGTERM)
    assert seen == [0]


@pytest.mark.usefixtures("handled")
def test_a_failure_does_not_hide_that_a_signal_came():
    """Runs one after the other in this process would go on with the next one."""

    def work():
        with ending_in_order(), ending_after_a_step():
            signal.raise_signal(signal.SIGTERM)
            raise FloatingPointError

    with pytest.raises(Terminated):
        work()


@pytest.mark.usefixtures("handled")
def test_steps_of_a_program_that_handles_its_signals_itself_do_not_wait():
    def work():
        with ending_after_a_step() as has_come:
            assert not has_come()
            signal.raise_signal(signal.SIGINT)
            raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        work()
