"""Names of files and folders that are too long are one sentence, before anything is written."""

import os
from pathlib import Path

import pytest

from torchmoments_lab import requests
from torchmoments_lab.files import runs_folder, write_text
from torchmoments_lab.lengths import check_path, folder_of

LONG = "moex:at=" + "+".join(["layer1", "layer2"] * 20)
QUICK = ["--train-size", "20", "--epochs", "1", "--width", "4", "--seeds", "1", "--workers", "1"]


def test_a_name_may_have_255_bytes_whatever_its_letters():
    check_path("out", Path("a" * 255) / ("é" * 127))
    for name in ("a" * 256, "é" * 128):
        with pytest.raises(ValueError, match=r"out needs names of at most 255 bytes; got 256, '.{43}'\. Write a sho"):
            check_path("out", Path("b") / name / "c")


def test_a_path_leaves_room_for_what_is_written_in_it(tmp_path):
    longest = os.pathconf("/", "PC_PATH_MAX")
    deep = Path("/", *["a" * 99] * (longest // 100))
    with pytest.raises(ValueError, match=r"out needs a path of at most [\d,]+ bytes; got [\d,]+, '"):
        check_path("out", deep)
    check_path("out", tmp_path)


def test_the_folder_of_a_word_may_have_255_bytes_once_encoded(tmp_path):
    assert len(folder_of("methods", "+" * 85)) == 255
    with pytest.raises(
        ValueError, match=r"methods needs words .* 255 bytes; got '\+{20}\.\.\.\+{20}', which has 258 there"
    ):
        folder_of("methods", "+" * 86)
    runs_folder(tmp_path, "+" * 85).mkdir(parents=True)


@pytest.mark.parametrize("path", [("a" * 255,), ("a" * 255, "report.html")])
def test_a_file_whose_name_is_as_long_as_can_be_is_written(tmp_path, path):
    file = tmp_path.joinpath(*path)
    file.parent.mkdir(exist_ok=True)
    write_text(file, "whole")
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", *QUICK, "--out", "a" * 256], "out needs names of at most 255 bytes; got 256"),
        (["train", "--out", f"{'a' * 256}/b"], "out needs names of at most 255 bytes; got 256"),
        (["report", "a" * 256], "out needs names of at most 255 bytes; got 256"),
        (["compare", "--data", f"folder:{'a' * 256}"], "data needs names of at most 255 bytes; got 256"),
        (["compare", "--weights", "a" * 256], "weights needs names of at most 255 bytes; got 256"),
        (["predict", "--weights", "a" * 256], "weights needs names of at most 255 bytes; got 256"),
        (["compare", *QUICK, "--methods", "none", LONG], "methods needs words that fit"),
        (["sweep", *QUICK, "--method", LONG, "--grid", "p=0.5/1"], "method needs words that fit"),
        (["sweep", *QUICK, "--grid", f"lr=0.{'1' * 300}/0.1"], "grid needs words that fit"),
        (["train", "--tensorboard", "--width", "4", "--method", LONG], "method needs words that fit"),
    ],
)
def test_it_is_found_before_anything_is_written(call, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, _, complaint = call(*words)
    assert code == 2
    assert complaint.startswith(said)
    assert complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_description_beside_an_exported_network_needs_a_name_too(tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    request = requests.Export(weights=weights, out=tmp_path / f"{'a' * 250}.onnx")
    with pytest.raises(ValueError, match="out needs names of at most 255 bytes; got 260"):
        request.check()
