"""What is seen of runs while they train: lines in a log, a bar on a terminal."""

import io
from dataclasses import dataclass

import pytest
from rich.console import Console, Group

from torchmoments_lab import display as displays
from torchmoments_lab.display import Display
from torchmoments_lab.jobs import Progress
from torchmoments_lab.training.epochs import Epoch


@dataclass(eq=False)
class Job:
    """Stands for a run."""

    name: str
    epochs: int = 80
    epoch: int = 0
    seconds: float = 14.0

    def last_epoch(self):
        return Epoch(self.epoch, 0.5, 80.0, 0.0, 0.1) if self.epoch else None

    def outcome(self):
        return "error 8.2%"

    def summary(self):
        return {"seconds": self.seconds}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when a test says so; nothing is looked at in between."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(displays, "_SECONDS_BETWEEN_LOOKS", 3600)
    return now


def shown(is_terminal, width=100):
    file = io.StringIO()
    return Display(Console(file=file, force_terminal=is_terminal, width=width)), file


def ended(done, total=60, failure=None):
    return Progress(done, total, ended=Job("moex seed 3"), failure=failure)


def test_a_run_that_ends_is_a_line(clock):
    display, log = shown(False)
    display.watch(Progress(11, 60))
    clock[0] += 14
    display.watch(ended(12))
    clock[0] += 14
    display.watch(ended(13, failure="its worker process died\nof SIGKILL"))
    display.close()
    first, second = log.getvalue().splitlines()
    assert first == "12 of 60  moex seed 3  error 8.2%  14 s"
    assert second == "13 of 60  moex seed 3  failed: its worker process died  about 11 min left"


def test_fast_runs_are_a_line_every_five_seconds_and_the_last_one(clock):
    display, log = shown(False)
    display.watch(Progress(0, 62))
    for done in range(1, 63):
        clock[0] += 1
        display.watch(ended(done, 62))
    display.close()
    lines = log.getvalue().splitlines()
    assert [int(line.split()[0]) for line in lines] == [*range(5, 61, 5), 62]
    assert lines[0] == " 5 of 62  moex seed 3  error 8.2%  14 s  about 55 s left"
    assert lines[-1] == "62 of 62  moex seed 3  error 8.2%  14 s"


def test_the_epochs_of_long_runs_are_a_line_now_and_then(clock):
    display, log = shown(False)
    first, second = Job("none seed 0"), Job("moex seed 0")
    display.watch(Progress(0, 2, (first, second)))
    for _ in range(130):
        clock[0] += 1
        first.epoch, second.epoch = first.epoch + 1, second.epoch + (second.epoch < 40)
        display._show(display._progress)
    display.close()
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        "0 of 2  none seed 0: epoch 60 of 80, loss 0.5; moex seed 0: epoch 40 of 80, loss 0.5  about "
    )


def test_a_bar_shows_the_runs_the_time_left_the_last_run_and_the_epochs_of_long_ones(clock):
    display, _ = shown(True)
    job = Job("none seed 4", epoch=8)
    display.say("Features are mixed after 'stem'.")
    display.watch(Progress(3, 6, (job,)))
    clock[0] += 1
    display.watch(Progress(4, 6, (job,), Job("moex:norm=in,p=[0] seed 3")))
    clock[0] += 30
    job.epoch = 40
    display._show(display._progress)
    bar = rendered(display)
    assert "4 of 6 runs  about 2 min left" in bar[0]
    assert bar[1:] == ["moex:norm=in,p=[0] seed 3: error 8.2%  14 s", "none seed 4: epoch 40 of 80, loss 0.5"]
    assert display._view.tasks[0].completed == 4.5
    display.close()


def rendered(display):
    console = Console(file=io.StringIO(), width=100)
    console.print(Group(*display._view.get_renderables()))
    return console.file.getvalue().splitlines()


def test_a_line_of_the_bar_is_cut_and_never_wrapped(clock):
    display, _ = shown(True)
    display.watch(Progress(0, 6))
    display.watch(Progress(1, 6, ended=Job("moex:" + 200 * "x" + " seed 3")))
    assert len(rendered(display)) == 2
    display.close()


def test_a_sentence_and_the_bar_share_no_line(clock):
    display, terminal = shown(True)
    display.watch(Progress(0, 6))
    display.say("Not decided after 4 seeds; goes on to 8.")
    display.watch(ended(1, 6))
    display.close()
    written = terminal.getvalue()
    assert "1 of 6 runs" in written
    (line,) = [line for line in written.replace("\r", "\n").split("\n") if "Not decided" in line]
    assert line.removeprefix("\x1b[2K").strip() == "Not decided after 4 seeds; goes on to 8."


def test_a_display_may_be_closed_before_anything_runs():
    display, log = shown(False)
    display.say("A sentence.")
    display.close()
    assert log.getvalue() == "A sentence.\n"


def test_it_looks_by_itself_while_a_run_trains(monkeypatch):
    monkeypatch.setattr(displays, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(displays, "_SECONDS_OF_SILENCE", 0.0)
    display, log = shown(False)
    job = Job("moex seed 0", epoch=7)
    display.watch(Progress(0, 1, (job,)))
    while "epoch 7 of 80" not in log.getvalue():
        pass
    display.close()
    assert not display._looks.is_alive()


def test_signals_are_left_to_the_main_thread(monkeypatch):
    import signal

    masks = []
    monkeypatch.setattr(displays, "_SECONDS_BETWEEN_LOOKS", 0.01)
    display, _ = shown(False)
    job = Job("moex seed 0")
    monkeypatch.setattr(job, "last_epoch", lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    display.watch(Progress(0, 1, (job,)))
    while len(masks) < 2:
        pass
    display.close()
    assert signal.SIGINT not in masks[0]
    assert {signal.SIGINT, signal.SIGTERM} <= masks[1]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_a_terminal_would_obey_is_written_out(clock, is_terminal):
    display, written = shown(is_terminal)
    training, failed = Job("moex:at=\x1b[31m seed 3", epoch=3), Job("none seed 0")
    display.watch(Progress(0, 3, (training, failed)))
    clock[0] += 60
    display.watch(Progress(1, 3, (training,), failed, "RuntimeError: \x1b[2J\x9b31m\nsecond line"))
    clock[0] += 60
    display._show(display._progress)
    seen = "\n".join(rendered(display)) if is_terminal else written.getvalue()
    assert r"failed: RuntimeError: \x1b[2J\x9b31m" in seen
    assert r"moex:at=\x1b[31m seed 3: epoch 3" in seen
    assert not {"\x1b", "\x9b"} & set(seen)
    assert "second" not in seen
    display.close()


def test_a_failure_without_a_word_is_one(clock):
    display, log = shown(False)
    display.watch(Progress(0, 1, (Job("none seed 0"),)))
    clock[0] += 60
    display.watch(Progress(1, 1, (), Job("none seed 0"), ""))
    display.close()
    assert "none seed 0  failed: " in log.getvalue()
