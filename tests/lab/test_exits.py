"""`sys.exit` in a user's code: a sentence before anything starts, and later a failure of one run."""

import pytest

CODE = """
import pathlib, sys
import torch
from torch import nn

class Data:
    def __init__(self, number):
        self.number = number
    def __len__(self):
        return self.number
    def __getitem__(self, i):
        AT_ITEM
        return torch.full((1, 8, 8), float(i)), i % 2

class Net(nn.Module):
    steps = 0
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, 2)
    def forward(self, x):
        AT_FORWARD
        return self.fc(self.stem(x).relu().mean((2, 3)))

def make_data():
    AT_DATA
    return Data(16), Data(8)

def make_model():
    AT_MODEL
    return Net()

AT_IMPORT
"""
PLACES = {
    "AT_IMPORT": "data needs a module that can be imported; got 'exits_at_import:make_data' (RuntimeError: sys.exit(0)",
    "AT_DATA": "data needs exits_at_data:make_data() to run without arguments; got RuntimeError: sys.exit(0) was",
    "AT_ITEM": "item 0 raised RuntimeError: sys.exit(0) was called",
    "AT_MODEL": "it raised RuntimeError: sys.exit(0) was called",
    "AT_FORWARD": "RuntimeError: sys.exit(0) was called",
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a module that does something at a place."""

    def write(name, place, what):
        code = CODE.replace(place, what)
        for other in PLACES:
            code = code.replace(other, "pass")
        (tmp_path / f"{name}.py").write_text(code)
        return name

    monkeypatch.chdir(tmp_path)
    return write


def command(name, out, *more):
    named = ["--data", f"{name}:make_data", "--model", f"{name}:make_model"]
    return ["compare", *named, "--epochs", "3", "--batch-size", "8", "--seeds", "1", "--out", str(out), *more]


@pytest.mark.parametrize("place", PLACES)
def test_it_is_one_sentence_before_anything_is_written(call, written, tmp_path, place):
    name = written(f"exits_{place.lower()}", place, "sys.exit(0)")
    code, said, complaint = call(*command(name, tmp_path / "out"))
    assert (code, said, complaint.count("\n")) == (2, "", 1)
    assert PLACES[place] in complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_while_the_time_is_measured_it_does_not_end_as_if_all_were_done(call, written, tmp_path):
    # The first step with gradients.
    name = written("exits_in_a_step", "AT_FORWARD", "if torch.is_grad_enabled() and self.training: sys.exit(0)")
    code, _, complaint = call(*command(name, tmp_path / "out", "--methods", "none"))
    assert code == 1
    assert "none seed 0  failed: RuntimeError: sys.exit(0) was called" in " ".join(complaint.split("\n"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_it_fails_its_run_and_the_others_go_on(call, written, tmp_path, workers):
    while_none_trains = "if pathlib.Path('out/runs/none/.seed0.metrics.csv').exists(): sys.exit(0)"
    name = written(f"exits_later_{workers}", "AT_FORWARD", while_none_trains)
    methods = ["--methods", "none", "labels", "--workers", str(workers)]
    code, _, _ = call(*command(name, tmp_path / "out", *methods))
    assert code == 1
    assert "RuntimeError: sys.exit(0) was called" in (tmp_path / "out" / "report.md").read_text()
    # With two workers they train at the same time.
    assert workers == 2 or (tmp_path / "out" / "runs" / "labels" / "seed0" / "predictions.npy").exists()
