"""The command: its files, and what it refuses."""

import re

import numpy as np
import pytest
from PIL import Image

# They train.
pytestmark = [pytest.mark.slow, pytest.mark.drawn]

TINY = ["inspect", "--width", "4", "--epochs", "1", "--train-size", "50"]


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, mode, shape in (("a.png", "RGB", (40, 52, 3)), ("b.jpg", "L", (60, 48))):
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8), mode).save(folder / name)
    return [str(folder / "a.png"), str(folder / "b.jpg")]


def test_files_of_any_size_and_mode_become_pictures_and_one_page(tmp_path, call, photographs):
    out = tmp_path / "out"
    flags = ["--model", "torchvision/resnet18", "--image-size", "64", "--out", str(out)]
    code, said, complaint = call(*TINY, "--image", *photographs, *flags)
    assert (code, complaint.count("\n")) == (0, 5)
    assert [path.rpartition("/")[2] for path in said.split()[-3:]] == [
        "moments-untrained.png",
        "exchange-untrained.png",
        "inspect.html",
    ]
    with Image.open(out / "moments-untrained.png") as picture:
        assert min(picture.size) > 500
    page = (out / "inspect.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("data:image/png;base64,") > 8
    assert not re.search(r"<script|src=|[^:]href=|xlink:href=\"(?!data:|#)", page)


def test_names_of_images_are_escaped(tmp_path, call, photographs):
    name = str(tmp_path / "<b>&.png")
    Image.open(photographs[0]).save(name)
    assert call(*TINY, "--image", name, "--image-size", "16", "--out", str(tmp_path / "out"))[0] == 0
    page = (tmp_path / "out" / "inspect.html").read_text()
    assert "<title>Moments of &lt;b&gt;&amp;.png in small</title>" in page
    assert "<b>" not in page


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_of_grey_images_the_exchange_is_shown_in_features(tmp_path, call, mode):
    random = np.random.default_rng(0)
    for number in range(10):
        grey = Image.fromarray(random.integers(0, 256, (24, 24), dtype=np.uint8))
        path = tmp_path / "grey" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey.convert(mode).save(path)
    flags = ["--data", f"folder:{tmp_path}/grey", "--train-size", "8", "--image-size", "16", "--out"]
    code, _, told = call(*TINY[:3], *flags, str(tmp_path / "out"), "--image", "data:0", "data:1")
    assert code == 0
    assert "moments over the channels (pono) mean nothing" in " ".join(told.split())
    page = (tmp_path / "out" / "inspect.html").read_text()
    assert '<p class="note">The network gets grey images' in page
    # With text of their own: the pixels and the features of two layers.
    assert re.findall(r">(pixels|at \w+)<", page) == ["pixels", "at stem", "at layer1"]


def test_images_of_colour_are_exchanged_in_their_pixels_too(tmp_path, call, photographs):
    flags = ["--model", "torchvision/resnet18", "--image-size", "32", "--out", str(tmp_path / "out")]
    code, said, _ = call(*TINY, "--image", photographs[0], photographs[0], *flags)
    assert code == 0
    assert "grey" not in said
    page = (tmp_path / "out" / "inspect.html").read_text()
    assert re.findall(r">(pixels|at \w+)<", page) == ["pixels", "at maxpool"]


def test_training_first_draws_both_networks_and_keeps_the_weights(tmp_path, call):
    out = tmp_path / "out"
    flags = ["--train", "--invert", "--image", "data:0", "data:1", "--out", str(out)]
    assert call(*TINY, *flags)[0] == 0
    pictures = {path.stem: path.read_bytes() for path in out.glob("*.png")}
    assert set(pictures) == {
        f"{kind}-{state}" for kind in ("moments", "exchange") for state in ("untrained", "trained")
    }
    assert pictures["moments-trained"] != pictures["moments-untrained"]
    weights = next(out.glob("runs/none/seed0/weights.safetensors"))
    before = weights.stat().st_mtime_ns
    assert call(*TINY, *flags)[0] == 0
    assert weights.stat().st_mtime_ns == before
    code, _, complaint = call(*TINY, *flags, "--epochs", "2")
    assert code == 2
    assert "epochs 1 (got 2)" in complaint
    # Pictures of the request before are not left beside a page that does not show them.
    assert call(*TINY, "--image", "data:3", "--out", str(out))[0] == 0
    assert [path.name for path in out.glob("*.png")] == ["moments-untrained.png"]


def test_weights_from_a_file_are_the_trained_network(tmp_path, call):
    out = tmp_path / "out"
    assert call(*TINY, "--train", "--image", "data:0", "--out", str(out))[0] == 0
    weights = next(out.glob("runs/none/seed0/weights.safetensors"))
    other = tmp_path / "other"
    flags = ["--weights", str(weights), "--image", "data:0", "--out", str(other)]
    assert call(*TINY, *flags)[0] == 0
    for name in ("moments-untrained.png", "moments-trained.png"):
        assert (out / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--image", "chnia"], "Nearest: 'china'"),
        (["--image"], "one image or more"),
        (["--image", "data:1297"], "data:0 to data:1296"),
        (["--image", "data:x"], "data:0 to data:1296"),
        (["--at", "fc"], "[B, C, *positions]"),
        (["--at", "layer9"], "Nearest: 'layer"),
        (["--model", "timm/resnet19"], "resnet1"),
        (["--epochs", "0"], "epochs needs at least 1"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused(*TINY, *flags)


def test_what_is_no_image_is_not_drawn(refused):
    sequences = "tests.lab.models.test_padding"
    complaint = refused("inspect", "--data", f"{sequences}:make_data", "--model", f"{sequences}:Masked")
    assert "inspect needs images [C, H, W], which it draws; those of the data are [2, 9]." in complaint


def test_a_file_that_is_no_image_is_refused(tmp_path, call):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, complaint = call(*TINY, "--image", str(tmp_path / "notes.txt"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "can be read as an image" in complaint


def test_a_failed_training_is_told_with_exit_code_1(tmp_path, call):
    flags = ["--train", "--lr", "1e30", "--epochs", "20", "--image", "data:0", "--out", str(tmp_path / "out")]
    code, _, complaint = call(*TINY, *flags)
    assert code == 1
    assert "the training failed: the loss needs to stay finite" in complaint
