"""What becomes of the processes: signals, a killed parent, a killed worker. Each test is a real command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers through /proc"),
]

# Long enough for a machine that is busy with other tests; nothing waits longer than it has to.
PATIENCE = 120


# Runs of half a second, more than a test waits for.
ENDLESS = ["--methods", "none", "--train-size", "50", "--epochs", "100", "--width", "4"]
ENDLESS += ["--seeds", "500", "--workers", "2"]


@pytest.fixture
def start():
    """Starts a command in a group of its own, as a shell does, and in a folder that has one for temporary files."""
    started = []

    def as_a_shell_does():
        os.setpgid(0, 0)
        # A shell may have started the tests with Ctrl-C ignored, or nohup has with the others.
        for number, _ in STOPS:
            signal.signal(number, signal.SIG_DFL)

    def start_words(folder, words):
        (folder / "t").mkdir()
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            # A short name: the path of a socket in it has at most 107 bytes.
            env=os.environ | {"TMPDIR": str(folder / "t")},
            preexec_fn=as_a_shell_does,
        )
        started.append(process)
        return process

    yield start_words
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def words(command, out, *flags):
    return ["-m", "torchmoments_lab", command, *flags, *([] if out is None else ["--out", str(out)])]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid):
    return [child for child in children(pid) if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def complete(out):
    return {path.parent: path.stat().st_mtime_ns for path in out.glob("runs/*/seed*/summary.json")}


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {PATIENCE} seconds"
        time.sleep(0.05)


STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def hidden(out):
    return [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(("number", "code"), [STOPS[1], pytest.param(*STOPS[0], marks=pytest.mark.thorough)])
def test_a_signal_stops_at_once_keeps_complete_runs_and_leaves_nothing_else(tmp_path, start, number, code):
    out = tmp_path / "runs"
    process = start(tmp_path, words("compare", out, *ENDLESS))
    wait_until(lambda: len(complete(out)) >= 2, "the second run")
    trainers = workers(process.pid)
    assert len(trainers) == 2
    # Workers leave signals to their parent.
    for worker in trainers:
        for other, _ in STOPS:
            os.kill(worker, other)
    ran = len(complete(out))
    wait_until(lambda: len(complete(out)) >= ran + 4, "more runs")
    assert workers(process.pid) == trainers
    family = children(process.pid)
    kept = complete(out)
    asked = time.monotonic()
    # A terminal sends it to the whole group, and so do schedulers, after the process itself.
    process.send_signal(number)
    os.killpg(process.pid, number)
    said, complaint = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - asked < 10
    assert process.returncode == code
    ran = len(complete(out))
    *told, last = complaint.splitlines()
    assert last == f"Stopped. {ran} complete runs are kept in {out}; rerun the command to resume."
    assert "500 training and 1,297 test images." in " ".join(told)
    assert said == ""
    assert {folder: complete(out)[folder] for folder in kept} == kept
    assert hidden(out) == []
    assert not list((tmp_path / "t").glob("torchmoments-*"))
    wait_until(lambda: not any(map(is_alive, family)), "the end of all processes")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("command", "flags", "begun", "sentence"),
    [
        (
            "sweep",
            ["--grid", "p=0.5/1", "--seeds", "500", "--workers", "1"],
            "*/runs/*/seed*/summary.json",
            "complete run",
        ),
        ("inspect", ["--train", "--epochs", "100000"], "runs/*/.seed0.lock", "0 complete runs are kept in"),
        ("train", ["--epochs", "100000"], "checkpoint.pt", "rerun the command to resume"),
        (
            "train",
            ["--epochs", "100000", "--devices", "2", "--device", "cpu"],
            "checkpoint.pt",
            "The last checkpoint is",
        ),
    ],
)
def test_sigterm_ends_every_command_that_trains_in_one_sentence(tmp_path, start, command, flags, begun, sentence):
    out = tmp_path / "runs"
    process = start(tmp_path, words(command, out, "--train-size", "50", "--width", "4", *flags))
    wait_until(lambda: any(out.glob(begun)), begun)
    family = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, complaint
    assert "Traceback" not in complaint
    assert complaint.splitlines()[-1].startswith("Stopped. ")
    assert sentence in complaint.splitlines()[-1]
    assert hidden(out) == []
    wait_until(lambda: not any(map(is_alive, family)), "the end of all processes")


@pytest.mark.parametrize("command", ["compare", pytest.param("places", marks=pytest.mark.thorough)])
def test_sigterm_during_the_checks_is_one_sentence_and_writes_nothing(tmp_path, start, command):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\ndef make_model(num_classes):\n    pathlib.Path('called').touch()\n    time.sleep(60)\n"
    )
    out = tmp_path / "runs"
    process = start(tmp_path, words(command, None if command == "places" else out, "--model", "slow:make_model"))
    wait_until((tmp_path / "called").exists, "the first call of make_model")
    process.send_signal(signal.SIGTERM)
    said, complaint = process.communicate(timeout=PATIENCE)
    sentence = "Stopped.\n" if command == "places" else "Stopped before the first run.\n"
    assert (process.returncode, said, complaint) == (143, "", sentence)
    assert not out.exists()


@pytest.mark.thorough
def test_sigterm_ends_readers_too(tmp_path, start):
    random = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "pictures" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    out = tmp_path / "runs"
    # An epoch of a quarter of a second, most of which is spent on starting and ending such processes.
    flags = ["--data", "folder:pictures", "--epochs", "9999", "--loader-workers", "1"]
    process = start(tmp_path, words("train", out, *flags))
    wait_until((out / "checkpoint.pt").exists, "the first epoch")
    wait_until(lambda: children(process.pid), "a reader")
    family = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=PATIENCE)
    sentence = f"Stopped. The last checkpoint is kept in {out}; rerun the command to resume."
    assert (process.returncode, complaint.splitlines()[-1]) == (143, sentence)
    wait_until(lambda: not any(map(is_alive, family)), "the end of all processes")


SCRIPT = """
import logging, sys, torch
from torchmoments_lab import compare
logging.getLogger("torchmoments_lab").setLevel(logging.ERROR)
net = lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
images, labels = torch.randn(30, 1, 8, 8), torch.arange(30) % 3
compare(net, (images, labels), (images, labels), ["none"], out=sys.argv[1], epochs=100, seeds=500, workers=2)
"""


@pytest.mark.thorough
def test_sigterm_ends_a_script_of_python_without_a_trace(tmp_path, start):
    out = tmp_path / "runs"
    process = start(tmp_path, ["-c", SCRIPT, str(out)])
    wait_until(lambda: len(complete(out)) >= 2, "the second run")
    family = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complaint) == (143, "")
    assert hidden(out) == []
    assert not list((tmp_path / "t").glob("torchmoments-*"))
    wait_until(lambda: not any(map(is_alive, family)), "the end of all processes")


def test_workers_end_when_their_parent_is_killed(tmp_path, start):
    out = tmp_path / "runs"
    process = start(tmp_path, words("compare", out, *ENDLESS, "--epochs", "100000"))
    wait_until(lambda: len(list(out.glob("runs/none/.seed*.lock"))) == 2, "two runs at a time")
    trainers = workers(process.pid)
    assert len(trainers) == 2
    process.kill()
    process.communicate()
    killed = time.monotonic()
    wait_until(lambda: not any(map(is_alive, trainers)), "the end of the workers")
    assert time.monotonic() - killed < 10


@pytest.mark.thorough
def test_files_of_the_current_folder_are_not_run_in_the_place_of_modules(tmp_path):
    # As the installed command is: a file in a folder of its own.
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "torchmoments"
    script.write_text("import sys\nfrom torchmoments_lab.cli import main\nsys.exit(main())\n")
    here = tmp_path / "pictures"
    here.mkdir()
    for name in ("random", "select", "copy", "token", "fractions"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nraise ImportError\n")
    (here / "mydata.py").write_text(
        "import torch\ndef make_data():\n    x = torch.randn(24, 1, 8, 8)\n    y = torch.arange(24) % 2\n"
        "    return (x[:16], y[:16]), (x[16:], y[16:])\n"
    )
    flags = ["--methods", "none", "--epochs", "1", "--width", "4", "--seeds", "2", "--workers", "2", "--out", "out"]
    ended = subprocess.run(
        [sys.executable, script, "compare", "--data", "mydata:make_data", *flags],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert ended.returncode == 0, ended.stderr
