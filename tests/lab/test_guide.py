"""The commands and the code of docs/compare.md work as they stand, with fewer epochs and seeds."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from torchmoments_lab.cli import main

GUIDE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
COMMANDS = [
    shlex.split(command.replace("\\\n", " "))[1:]
    for command in re.findall(r"^    (torchmoments (?:.*\\\n)*.*)$", GUIDE, re.MULTILINE)
]
MAKE_DATA, MAKE_MODEL, FROM_PYTHON = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
LESS = {"compare": ["--epochs", "1", "--seeds", "1", "--workers", "1"], "train": ["--epochs", "1"], "places": []}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with what the guide speaks of: pictures/, pacs/, weights.pt, mydata.py, mymodel.py."""
    random = np.random.default_rng(0)
    for folder in ("pictures", *(f"pacs/{domain}" for domain in ("photo", "art", "sketch"))):
        for name in ("cat", "dog"):
            (tmp_path / folder / name).mkdir(parents=True)
            for index in range(10):
                pixels = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / name / f"{index}.jpg")
    (tmp_path / "mydata.py").write_text(MAKE_DATA)
    (tmp_path / "mymodel.py").write_text(MAKE_MODEL)
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    yield
    for name in ("mydata", "mymodel"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.drawn
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_works_as_written(here, capsys, command):
    if "--pretrained" in command:
        # Nothing is downloaded here, but the words have to be right.
        assert main([*command, "--image-size", "3"]) == 2
        assert "image_size needs" in capsys.readouterr().err
    elif "fashion-mnist" in command:
        assert main([*command, "--data-dir", "/nowhere"]) == 2
        assert "got '/nowhere', which does not exist" in capsys.readouterr().err
    else:
        assert main([*command, *LESS[command[0]]]) == 0


@pytest.mark.slow
def test_the_code_works_as_pasted(here, capsys):
    names = {}
    for block in (MAKE_DATA, MAKE_MODEL, FROM_PYTHON.replace("epochs=10, seeds=5", "epochs=1, seeds=2, workers=1")):
        exec(compile(block, "compare.md", "exec"), names)
    assert Path("runs/python/report.html").exists()
    assert capsys.readouterr().out.strip().endswith(".")


def test_every_part_of_the_guide_is_found():
    assert len(COMMANDS) == 13
    assert [command[0] for command in COMMANDS].count("compare") == 11
