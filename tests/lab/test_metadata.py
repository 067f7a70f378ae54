"""What a file of weights says of its network, and how it is written."""

import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from torchmoments_lab.metadata import Metadata
from torchmoments_lab.models.weights import read_metadata, read_safetensors, write_safetensors
from torchmoments_lab.requests import Train
from torchmoments_lab.single import train_once

TINY = Train().with_values(train_size=40, epochs=1, width=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    train_once(TINY.with_values(out=out, seed=3))
    return out / "weights.safetensors"


def test_it_says_what_the_network_is_what_it_takes_and_where_it_comes_from(weights):
    with safe_open(weights, "pt") as file:
        found = json.loads(file.metadata()["torchmoments"])
    error = json.loads(weights.with_name("summary.json").read_text())["error"]
    assert found.pop("version")
    assert found == {
        "model": "small",
        "width": 4,
        "image_size": None,
        "classes": list("0123456789"),
        "preparation": {
            "kind": "pixels",
            "shape": [1, 8, 8],
            "size": None,
            "channels": 1,
            "bicubic": False,
            "test_crop": 1.0,
            "peak": 16.0,
            "mean": [4.9 / 16],
            "std": [6.0 / 16],
            "levels": None,
        },
        "precision": "32-true",
        "method": "moex",
        "place": "stem",
        "seed": 3,
        "metric": "error",
        "error": error,
    }
    assert Metadata.read(weights).as_json() == read_metadata(weights)["torchmoments"]


def test_the_file_can_be_read_by_whom_the_umask_lets(weights):
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(weights.stat().st_mode) == 0o666 & ~umask


def test_tensors_and_metadata_come_back_at_any_path(tmp_path):
    path = tmp_path / "a\udcff.safetensors"
    both = torch.arange(6.0).view(2, 3)
    write_safetensors(path, {"a": both, "b": both[:, :2], "c": both.T}, {"key": "ü"})
    assert read_metadata(path) == {"key": "ü"}
    assert all(read_safetensors(path)[n].equal(t) for n, t in {"a": both, "b": both[:, :2], "c": both.T}.items())
    assert [path.name for path in tmp_path.iterdir()] == ["a\udcff.safetensors"]


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"PK\x03\x04" * 9, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{}", b"\xff" * 99]
)
def test_a_file_without_metadata_has_none(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read_metadata(tmp_path / "file") == {}


def test_a_training_starts_from_the_weights_of_another(weights, tmp_path):
    out = tmp_path / "out"
    # A step that changes nothing.
    settings = {"weights": weights, "lr": 1e-12, "head_lr": 1e-12, "weight_decay": 0.0, "min_steps": 1, "out": out}
    train_once(TINY.with_values(**settings, method="none"))
    before, after = load_file(weights), load_file(out / "weights.safetensors")
    for name, tensor in before.items():
        if "running" not in name and "batches" not in name:
            torch.testing.assert_close(after[name], tensor, atol=1e-9, rtol=0)


def test_the_folder_of_a_run_as_weights_names_the_file_in_it(weights, tmp_path, call):
    for folder in (weights.parent, tmp_path):
        code, said, complaint = call("train", "--weights", str(folder), "--out", str(tmp_path / "out"))
        assert (code, said, complaint.count("\n")) == (2, "", 1)
        assert (
            "which has no weights.safetensors" if folder == tmp_path else f"Write --weights '{weights}'."
        ) in complaint
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_comparison_as_weights_names_one_of_its_runs(weights, tmp_path, call):
    run = tmp_path / "runs" / "none" / "seed0"
    run.mkdir(parents=True)
    (run / "weights.safetensors").write_bytes(weights.read_bytes())
    _, _, complaint = call("train", "--weights", str(tmp_path), "--out", str(tmp_path / "out"))
    assert f"Write --weights '{run / 'weights.safetensors'}'." in complaint
