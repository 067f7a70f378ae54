"""Fine-tuning a network from weights in a file on pictures in folders, from the command line to the report."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from torchmoments_lab.cli import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Stripes, upright or level, in pictures of several sizes: a stem that knows edges tells them apart."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, axis in (("level", 0), ("upright", 1)):
        (folder / name).mkdir()
        for index in range(20):
            shape = tuple(random.integers(40, 60, 2))
            stripes = np.sin(np.indices(shape)[axis] + random.uniform(0, 6)) * 90 + random.normal(128, 10, shape)
            Image.fromarray(stripes.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a network with ImageNet's 1,000 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pt"
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    return path


def command(pictures, weights, *more):
    flags = ["--data", f"folder:{pictures}", "--model", "timm/resnet10t", "--weights", str(weights)]
    return main(["compare", *flags, "--image-size", "32", "--workers", "1", "--seeds", "1", *more])


@pytest.mark.slow
def test_it_learns_and_says_where_it_mixes_and_what_is_new(pictures, weights, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--epochs", "4", "--batch-size", "8", "--methods", "none", "moex", "--augment"]
    assert command(pictures, weights, *flags, "--out", str(out)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Features are mixed after 'maxpool' of timm/resnet10t" in said
    assert "fc is new: the weights have another classifier." in said
    assert "Of the initial weights only those of 'fc' are new for each seed." in said
    assert "so what is left open of the training is that of fine-tuning: adamw, lr 0.001." in said
    settings = json.loads((out / "comparison.json").read_text())["settings"]
    assert settings["weights"].startswith("resnet10t.pt ")
    assert (settings["place"], settings["train_size"]) == ("maxpool", 32)
    assert (settings["fine_tune"], settings["optimizer"], settings["lr"]) == (True, "adamw", 0.001)
    assert (settings["augment"], settings["crop_scale"], settings["flips"]) == (True, 0.35, "horizontal")
    assert settings["mean"] == [0.485, 0.456, 0.406]
    assert settings["images"].startswith("32 + 8 of 2 classes")
    assert json.loads((out / "runs/none/seed0/env.json").read_text())["timm"] == timm.__version__
    losses = np.genfromtxt(out / "runs/none/seed0/metrics.csv", delimiter=",", names=True)["loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.slow
def test_other_weights_of_the_same_name_are_other_settings(pictures, weights, tmp_path, capsys):
    out = ["--epochs", "1", "--methods", "none", "--out", str(tmp_path / "out")]
    assert command(pictures, weights, *out) == 0
    other = tmp_path / weights.name
    torch.save(
        {name: tensor + 0 for name, tensor in torch.load(weights).items()} | {"fc.bias": torch.ones(1000)}, other
    )
    assert command(pictures, other, *out) == 2
    assert "holds runs with weights resnet10t.pt " in capsys.readouterr().err


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(pictures, weights, tmp_path, capsys):
    state = torch.load(weights)
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "weights.pt")
    assert command(pictures, tmp_path / "weights.pt", "--out", str(tmp_path / "out")) == 2
    complaint = capsys.readouterr().err
    assert "1 missing: layer1.0.conv1.weight." in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unreadable_picture_is_refused_before_anything_is_written(pictures, weights, tmp_path, capsys):
    bad = pictures / "level" / "bad.png"
    bad.write_text("no picture")
    try:
        assert command(pictures, weights, "--out", str(tmp_path / "out")) == 2
    finally:
        bad.unlink()
    assert "bad.png' (no image). Repair or remove them.\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
