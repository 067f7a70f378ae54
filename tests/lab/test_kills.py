"""A few of the cases of `kills`, in a process of its own: it copies itself."""

import os
import re
import subprocess
import sys

import pytest

from torchmoments_lab.files import UNFINISHED
from torchmoments_lab.lock import hold


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that copies itself")
@pytest.mark.parametrize(
    ("commands", "number"),
    [(["train"], 1), pytest.param(["train", "compare", "sweep", "probe"], 2, marks=pytest.mark.thorough)],
)
def test_a_command_that_ended_anywhere_goes_on_and_gives_the_same(commands, number, request):
    words = [request.path.with_name("kills.py"), *commands, "--of-each", str(number)]
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    # Killed, torn and full.
    assert re.findall(r"(\w+): \d+ file operations, (\d+) cases", ended.stdout) == [
        (command, str(3 * number)) for command in commands
    ]


@pytest.mark.parametrize("left", [f".comparison.json{UNFINISHED}", UNFINISHED, ".metrics.csv", ".lock", "tensorboard"])
def test_a_folder_with_nothing_but_what_a_kill_left_is_taken(tmp_path, left):
    (tmp_path / left).touch()
    with hold(tmp_path, ["comparison.json"], "compare"):
        pass
    (tmp_path / "thesis.tmp").touch()
    with pytest.raises(ValueError, match=r"such as thesis\.tmp"), hold(tmp_path, ["comparison.json"], "compare"):
        pass
    assert (tmp_path / "thesis.tmp").exists()


@pytest.mark.parametrize(
    ("summary", "stays"), [('{"error": 3.0}', False), ('{"failed": "it diverged"}', True), ("", True)]
)
def test_the_checkpoint_of_a_complete_run_goes(tmp_path, summary, stays):
    # The process was killed after the run was written.
    run = tmp_path / "runs/none/seed3"
    run.mkdir(parents=True)
    checkpoint = run.with_name(".seed3.pt")
    checkpoint.touch()
    (tmp_path / "comparison.json").touch()
    (run / "summary.json").write_text(summary)
    with hold(tmp_path, ["comparison.json"], "compare"):
        assert checkpoint.exists() == stays
