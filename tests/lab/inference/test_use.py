"""The commands and the code of docs/use.md work as they stand, one after the other, with fewer epochs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import ExifTags, Image
from safetensors.torch import save_file

from torchmoments_lab import predict
from torchmoments_lab.cli import main

GUIDE = (Path(__file__).parents[3] / "docs" / "use.md").read_text()
COMMANDS = [
    shlex.split(command.replace("\\\n", " "))[1:]
    for command in re.findall(r"^    (torchmoments (?:.*\\\n)*.*)$", GUIDE, re.MULTILINE)
]
FROM_PYTHON, WITHOUT_TORCH = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
LESS = ["--train-size", "16", "--epochs", "1", "--min-steps", "1", "--seeds", "2", "--workers", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with what the guide speaks of: elpv/, new/, lite0.safetensors."""
    random = np.random.default_rng(0)
    folders = {"elpv/defective": range(12), "elpv/functional": range(12), "new": (3, 2624)}
    for folder, numbers in folders.items():
        (tmp_path / folder).mkdir(parents=True)
        for number in numbers:
            # Wider than high, for the preparation without torchmoments.
            pixels = random.integers(0, 256, (90, 131), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"cell{number:04}.png")
    # One with colours below what is transparent, and one that the camera was turned for.
    rows = random.integers(0, 256, (40, 33, 4), dtype=np.uint8)
    Image.fromarray(rows, "RGBA").save(tmp_path / "new" / "cell0003.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(tmp_path / "new" / "cell2624.png", exif=exif)
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / "lite0.safetensors")
    monkeypatch.chdir(tmp_path)


def expanded(word):
    """As a shell expands it."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


@pytest.mark.slow
def test_the_guide_works_from_the_comparison_to_the_program_without_torch(here, capsys):
    pytest.importorskip("onnxscript")
    compare, *others = COMMANDS
    assert main([*compare, *LESS]) == 0
    for command in others:
        assert main([part for word in command for part in expanded(word)]) == 0
    table = Path("predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["file", "cell0003.png", "cell2624.png"]
    exec(compile(FROM_PYTHON, "use.md", "exec"), {})
    single = predict("runs/elpv/runs/none/seed0/weights.safetensors", "new").probabilities
    pytest.importorskip("onnxruntime")
    names = {}
    exec(compile(WITHOUT_TORCH, "use.md", "exec"), names)
    np.testing.assert_allclose(names["probabilities"], single, atol=1e-5)
    # Bilinear, and less than the whole picture.
    model = ["--model", "torchvision/resnet18", "--image-size", "40", "--test-crop", "0.8"]
    assert main(["train", "--data", "folder:elpv", *model, "--train-size", "16", "--epochs", "1", "--out", "cut"]) == 0
    assert main(["export", "--weights", "cut/weights.safetensors", "--out", "model.onnx"]) == 0
    other = {}
    exec(compile(WITHOUT_TORCH, "use.md", "exec"), other)
    np.testing.assert_allclose(
        other["probabilities"], predict("cut/weights.safetensors", "new").probabilities, atol=1e-5
    )
    program = torch.export.load("model.pt2").module()
    x = torch.from_numpy(np.stack([names["prepared"](f"new/cell{n}.png") for n in ("0003", "2624")]))
    np.testing.assert_allclose(program(x).detach().numpy(), single, atol=1e-5)


def test_every_part_of_the_guide_is_found():
    assert [command[0] for command in COMMANDS] == ["compare", "predict", "export", "export"]
