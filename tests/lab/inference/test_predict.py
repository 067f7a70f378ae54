"""The classes of new images: those that the test of the run gave, several weights, and what is refused."""

import csv
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from tests.lab.inference.conftest import save_pictures
from torchmoments_lab import compare, predict
from torchmoments_lab.data import load
from torchmoments_lab.metadata import Metadata
from torchmoments_lab.models.weights import write_safetensors
from torchmoments_lab.settings import DataSettings

# They train.
pytestmark = pytest.mark.slow

WEIGHTS = "weights.safetensors"


def scores_of(run):
    return np.load(run / "predictions.npy")["scores"]


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_the_probabilities_are_those_of_the_runs_own_test(runs, pictures):
    found = predict(runs[0] / WEIGHTS, pictures / "test")
    assert found.probabilities.dtype == np.float32
    assert_same(found.probabilities, scores_of(runs[0]))
    assert found.classes == ("cat", "dog")
    assert found.files == tuple(f"{name}/{index}.png" for name in found.classes for index in range(6))
    assert found.predicted == [found.classes[index] for index in scores_of(runs[0]).argmax(1)]
    # They depend on the picture.
    assert found.probabilities.std(0).min() > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"mean": (0.5,), "std": (0.25,)},
        {"precision": "bf16-mixed"},
        {"ema": 0.5},
        {"model": "timm/resnet10t", "image_size": 40},
        {"model": "timm/vit_tiny_patch16_224", "image_size": 32, "method": "none"},
        {"model": "pytorchcv/resnet20", "method": "none"},
    ],
    ids=str,
)
def test_every_kind_of_network_and_preparation_is_built_again(train, pictures, settings):
    run = train(**{"data": f"folder:{pictures}", "image_size": None, **settings})
    assert_same(predict(run / WEIGHTS, pictures / "test").probabilities, scores_of(run))


def test_deep_pictures_are_scaled_as_in_the_training(train, tmp_path):
    save_pictures(tmp_path, deep=True)
    run = train(data=f"folder:{tmp_path}")
    assert Metadata.read(run / WEIGHTS).preparation.levels == (300.0, 3999.0)
    # One alone tells nothing of what is black and white.
    for index, path in enumerate(sorted(tmp_path.glob("test/*/*"))):
        assert_same(predict(run / WEIGHTS, path).probabilities[0], scores_of(run)[index])


def test_deep_pictures_are_refused_by_a_network_of_8_bits(runs, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("I;16", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"pictures need 8 bits, .*got 1 that have more, 'b.png' first"):
        predict(runs[0] / WEIGHTS, tmp_path)


def test_several_weights_are_averaged(runs, pictures):
    found = predict([run / WEIGHTS for run in runs], pictures / "test")
    assert_same(found.probabilities, np.mean([scores_of(run) for run in runs], axis=0))
    assert not np.allclose(*map(scores_of, runs), atol=1e-3)


def rewritten(run, path, **changes):
    """The weights of a run with other metadata."""
    metadata = Metadata.read(run / WEIGHTS)
    write_safetensors(path, load_file(run / WEIGHTS), replace(metadata, **changes).entries())
    return path


def test_weights_of_other_classes_or_preparation_are_not_averaged(runs, pictures, tmp_path):
    swapped = rewritten(runs[0], tmp_path / "swapped.safetensors", classes=("dog", "cat"))
    with pytest.raises(ValueError, match=r"got classes \('cat', 'dog'\) and \('dog', 'cat'\) in"):
        predict([runs[0] / WEIGHTS, swapped], pictures / "test")
    preparation = replace(Metadata.read(runs[0] / WEIGHTS).preparation, size=32, bicubic=True)
    larger = rewritten(runs[0], tmp_path / "larger.safetensors", preparation=preparation)
    with pytest.raises(ValueError, match="got size 24 and 32; bicubic False and True in"):
        predict([runs[0] / WEIGHTS, larger], pictures / "test")


def test_pictures_may_be_files_or_objects_of_python(runs, pictures):
    paths = sorted(pictures.glob("test/*/*"))
    weights, expected = str(runs[0] / WEIGHTS), scores_of(runs[0])
    listed = predict(weights, list(map(str, paths)))
    assert listed.files == tuple(map(str, paths))
    opened = predict(weights, [Image.open(path) for path in paths], batch_size=5)
    assert opened.files == tuple(map(str, range(12)))
    for found in (listed, opened):
        assert_same(found.probabilities, expected)
    rgb = paths[1]
    pixels = np.array(Image.open(rgb))[None]
    for images in (rgb, pixels, torch.from_numpy(pixels).movedim(-1, 1)):
        assert_same(predict(weights, images).probabilities, expected[1:2])


def test_a_network_of_tensors_takes_tensors_like_those(train):
    run = train(train_size=40)
    images = load(DataSettings()).test.images
    assert_same(predict(run / WEIGHTS, images).probabilities, scores_of(run))
    with pytest.raises(ValueError, match=r"need the shape of those of the training, \[N, 1, 8, 8\]; got \[3, 8, 8\]"):
        predict(run / WEIGHTS, images[:3, 0])


@pytest.fixture
def refused(call, tmp_path, monkeypatch):
    """Runs a wrong `predict`; gives its complaint, after checks that it is one line and that nothing was written."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def complaint_of(*flags):
        code, said, complaint = call("predict", *map(str, flags))
        assert (code, said, complaint.count("\n")) == (2, "", 1)
        assert list((tmp_path / "here").iterdir()) == []
        return complaint

    return complaint_of


def test_a_wrong_request_is_one_sentence(refused, runs, pictures, tmp_path, train):
    weights, good = runs[0] / WEIGHTS, ["--images", pictures / "test"]
    assert "weights needs one file or more; got none. Write --weights FILE." in refused(*good)
    assert "images needs a folder of pictures" in refused("--weights", weights)
    assert "'/nowhere', which does not exist" in refused("--weights", weights, "--images", "/nowhere")
    assert "'/nowhere', which does not exist" in refused("--weights", "/nowhere", *good)
    assert f"which is a folder. Write --weights '{weights}'." in refused("--weights", runs[0], *good)
    assert "batch_size needs at least 1" in refused("--weights", weights, *good, "--batch-size", "0")
    assert "device needs auto, cpu" in refused("--weights", weights, *good, "--device", "gpu")
    assert "out needs a file; got the folder" in refused("--weights", weights, *good, "--out", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("mine")
    message = refused("--weights", weights, "--images", tmp_path / "empty")
    assert "images needs a picture; got none in" in message
    assert "Left out of the folder: .txt 1." in message
    assert "torchmoments train" in refused("--weights", tmp_path / "empty", *good)
    (tmp_path / "empty" / "cut.png").write_bytes((pictures / "test/cat/0.png").read_bytes()[:60])
    assert "cut.png'" in refused("--weights", weights, "--images", tmp_path / "empty")
    tensors = train(train_size=40) / WEIGHTS
    message = refused("--weights", tensors, *good)
    assert "which were no pictures but tensors [1, 8, 8]; got" in message
    assert "with images [N, 1, 8, 8]." in message


def test_files_that_do_not_say_what_they_are_are_refused(refused, runs, pictures, tmp_path):
    given = load_file(runs[0] / WEIGHTS)
    save_file(given, tmp_path / "plain.safetensors")
    torch.save(given, tmp_path / "weights.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    for name in ("plain.safetensors", "weights.pt", "cut.safetensors"):
        complaint = refused("--weights", tmp_path / name, "--images", pictures)
        assert f"needs a file that says what its network is; '{tmp_path / name}' does not" in complaint
    record = json.loads(Metadata.read(runs[0] / WEIGHTS).as_json())
    for changed in ({**record, "tiles": 4}, {**record, "classes": 2}, {"model": "small"}, 3):
        write_safetensors(tmp_path / "other.safetensors", given, {"torchmoments": json.dumps(changed)})
        complaint = refused("--weights", tmp_path / "other.safetensors", "--images", pictures)
        assert "that this version of torchmoments can read" in complaint
    wider = rewritten(runs[0], tmp_path / "wider.safetensors", width=8)
    assert "weights need to fit SmallResNet" in refused("--weights", wider, "--images", pictures)
    more = rewritten(runs[0], tmp_path / "more.safetensors", classes=("cat", "cow", "dog"))
    assert "are those of another fc" in refused("--weights", more, "--images", pictures)


def test_the_table_has_a_line_for_each_picture(call, runs, pictures, tmp_path):
    out = tmp_path / "new" / "table.csv"
    words = ["--weights", *(str(run / WEIGHTS) for run in runs), "--images", str(pictures / "test"), "--out", str(out)]
    code, said, complaint = call("predict", *words)
    assert (code, complaint) == (0, "")
    expected = np.mean([scores_of(run) for run in runs], axis=0)
    header, *rows = csv.reader(io.StringIO(out.read_text()))
    assert header == ["file", "class", "cat", "dog"]
    assert [row[0] for row in rows[:2]] == ["cat/0.png", "cat/1.png"]
    assert [row[1] for row in rows] == [header[2 + index] for index in expected.argmax(1)]
    np.testing.assert_allclose(np.array([row[2:] for row in rows], float), expected, atol=1e-5)
    counts = np.bincount(expected.argmax(1), minlength=2)
    assert said.startswith("12 pictures: ")
    assert all(f"{name} {n}" in said for name, n in zip(("cat", "dog"), counts, strict=True) if n)
    assert str(out) in said
    assert [path.name for path in out.parent.iterdir()] == ["table.csv"]


def test_what_is_left_out_of_a_folder_is_said(call, runs, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((pictures / "test/dog/1.png").read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("mine")
    code, said, notice = call("predict", "--weights", str(runs[0] / WEIGHTS), "--images", "in")
    assert code == 0
    assert notice == "Left out of the folder: .txt 1.\n"
    assert said.startswith("1 picture: ")


MODEL = """
from torch import nn
def make_model(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, num_classes))
"""


def test_a_network_of_a_users_module_is_imported(train, pictures, tmp_path, monkeypatch):
    (tmp_path / "net_of_mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    run = train(data=f"folder:{pictures}", model="net_of_mine:make_model", method="moex:at=0")
    assert_same(predict(run / WEIGHTS, pictures / "test").probabilities, scores_of(run))
    assert Metadata.read(run / WEIGHTS).place == "0"
    (tmp_path / "net_of_mine.py").unlink()
    sys.modules.pop("net_of_mine")
    with pytest.raises(ValueError, match="needs a module that can be imported; got 'net_of_mine:make_model'"):
        predict(run / WEIGHTS, pictures / "test")


def make_model(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(32, num_classes))


def test_a_network_made_from_python_is_made_by_its_function(refused, pictures, tmp_path):
    train, test = ((torch.randn(number, 2, 4, 4), torch.arange(number) % 3) for number in (30, 9))
    out = tmp_path / "out"
    compare(make_model, train, test, ["none"], out=out, seeds=1, epochs=1, workers=1, keep_weights=True)
    weights = out / "runs/none/seed0" / WEIGHTS
    found = predict(weights, test[0], make_model=make_model)
    assert found.classes == ("0", "1", "2")
    assert_same(found.probabilities, scores_of(weights.parent))
    complaint = refused("--weights", weights, "--images", pictures)
    assert "was made from Python, by make_model, and cannot be made by a name." in complaint
    assert "make_model=make_model" in complaint


def test_a_network_of_pictures_refuses_floats_and_what_is_no_image(runs):
    weights = runs[0] / WEIGHTS
    for images, sentence in (
        (torch.zeros(2, 3, 8, 8), "got torch.float32, which is taken as normalized"),
        (np.zeros((2, 8, 8, 3)), "got float64, which is taken as normalized"),
        ([], "one picture or more; got none"),
        (Image.new("RGB", (8, 8)), r"got Image. Write \[image\]"),
        ([3], "image 0: "),
    ):
        with pytest.raises(ValueError, match=sentence):
            predict(weights, images)
    with pytest.raises(ValueError, match="weights needs one file or more"):
        predict([], [])
    with pytest.raises(ValueError, match="batch_size needs at least 1"):
        predict(weights, [], batch_size=0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are UTF-8")
def test_names_need_no_utf8(runs, pictures, tmp_path, call):
    weights = tmp_path / "weights\udcff.safetensors"
    weights.write_bytes((runs[0] / WEIGHTS).read_bytes())
    (tmp_path / "in\udcfe").mkdir()
    (tmp_path / "in\udcfe" / "a\udcfd,.png").write_bytes((pictures / "test/dog/1.png").read_bytes())
    out = tmp_path / "out.csv"
    code, _, complaint = call(
        "predict", "--weights", str(weights), "--images", str(tmp_path / "in\udcfe"), "--out", str(out)
    )
    assert (code, complaint) == (0, "")
    assert out.read_bytes().splitlines()[1].startswith(b'"a\\udcfd,.png",')
