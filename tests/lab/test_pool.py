import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from torchmoments.lab.pool import train_all

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fatal:
    """Stands for a run whose process is killed each time, as by the system when memory is short."""

    folder: Path
    name: str

    def train(self):
        if self.name == "bad":
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / self.name).touch()

    def record_failure(self, reason):
        (self.folder / "failure").write_text(reason)


def test_a_run_that_kills_its_worker_fails_and_the_others_go_on(tmp_path):
    finished = []
    runs = [Fatal(tmp_path, name) for name in ("a", "bad", "b", "c")]
    train_all(runs, 2, lambda run, reason: finished.append((run.name, reason)))
    assert sorted(name for name, reason in finished if reason is None) == ["a", "b", "c"]
    assert [name for name, reason in finished if reason is not None] == ["bad"]
    assert "worker process died" in (tmp_path / "failure").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "failure"}


@dataclass(frozen=True)
class Backward:
    """Stands for a run; a big enough product makes use of several threads where they are allowed."""

    folder: Path
    name: str

    def train(self):
        x = torch.ones(300, 300, requires_grad=True)
        (x @ x).exp().sum().backward()
        (self.folder / self.name).write_text(f"{os.getppid()} {Path('/proc/self/cmdline').read_bytes()!r}")


@pytest.mark.parametrize("autograd_has_run", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="only there a worker is a copy")
def test_workers_train_whatever_their_parent_did_before(tmp_path, autograd_has_run):
    """As copies of a process where autograd has not run, which would refuse to run in them; anew otherwise."""
    program = f"""
import os, torch
from pathlib import Path
from tests.lab.test_pool import Backward
from torchmoments.lab.pool import train_all

torch.set_num_threads(2)
x = torch.ones(300, 300, requires_grad={autograd_has_run})
y = (x @ x).exp().sum()
if {autograd_has_run}:
    y.backward()
jobs = [Backward(Path({str(tmp_path)!r}), name) for name in "abc"]
failures = []
train_all(jobs, 2, lambda job, reason: failures.append(reason))
assert failures == [None] * 3, failures
mine = repr(Path("/proc/self/cmdline").read_bytes())
for name in "abc":
    parent, command = (Path({str(tmp_path)!r}) / name).read_text().split(" ", 1)
    assert int(parent) == os.getpid()
    assert (command == mine) == (not {autograd_has_run})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
