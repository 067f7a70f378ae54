"""What becomes of the processes: Ctrl-C, a killed parent, a killed worker. Each test is a real command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers through /proc")

PATIENCE = 60


def start(out, *more):
    command = [sys.executable, "-m", "torchmoments.cli", "compare", "--methods", "none", "--train-size", "50"]
    command += ["--epochs", "100", "--width", "4", "--seeds", "500", "--workers", "2", "--out", str(out), *more]
    # A shell may have started the tests with Ctrl-C ignored, which would be inherited.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid):
    """Copies of the process; it has another child that looks after semaphores."""
    return [child for child in children(pid) if command_of(child) == command_of(pid)]


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


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


def test_ctrl_c_stops_at_once_keeps_complete_runs_and_leaves_no_process(tmp_path):
    out = tmp_path / "runs"
    process = start(out)
    wait_until(lambda: len(complete(out)) >= 2, "the second run")
    family = children(process.pid)
    kept = complete(out)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    # A terminal sends it to the whole group.
    for worker in workers(process.pid):
        os.kill(worker, signal.SIGINT)
    said, complaint = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - asked < 3
    assert process.returncode == 130
    assert "Traceback" not in said + complaint
    assert f"Stopped. {len(complete(out))} complete runs are kept in {out}; the same command goes on" in complaint
    assert {folder: complete(out)[folder] for folder in kept} == kept
    wait_until(lambda: not any(map(is_alive, family)), "the end of all processes")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    out = tmp_path / "runs"
    process = start(out, "--epochs", "100000")
    wait_until(lambda: len(list(out.glob("runs/none/.seed*.lock"))) == 2, "two runs at a time")
    trainers = workers(process.pid)
    assert len(trainers) == 2
    process.kill()
    process.communicate()
    killed = time.monotonic()
    wait_until(lambda: not any(map(is_alive, trainers)), "the end of the workers")
    assert time.monotonic() - killed < 3


def test_a_killed_worker_costs_its_own_run_at_most(tmp_path):
    out = tmp_path / "runs"
    process = start(out, "--seeds", "6")
    wait_until(lambda: len(complete(out)) >= 1, "the first run")
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    said, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said + complaint
    assert json.loads((out / "summary.json").read_text())["methods"]["none"]["n"] == 6
    assert "Traceback" not in said + complaint
