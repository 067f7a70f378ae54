"""What a comparison keeps of its images: read again, they are the images that the network got."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.lab.experiments import experiment
from torchmoments_lab.comparison import compare, compare_objects
from torchmoments_lab.data import load
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.files import write_record
from torchmoments_lab.gallery import keep_images
from torchmoments_lab.report import report
from torchmoments_lab.report.images import read_images
from torchmoments_lab.requests import Compare
from torchmoments_lab.settings import DataSettings

# They train.
pytestmark = pytest.mark.slow

FILES = ("images.json", "test.jpg", "training.jpg")
TINY = Compare().with_values(train_size=50, epochs=1, width=4, methods=("none",), seeds=1, workers=1)


def kept(out, data=None, request=TINY):
    out.mkdir(exist_ok=True)
    keep_images(out, experiment(request, data=data))
    return read_images(out)


def contents(out):
    return {name: (out / name).read_bytes() for name in FILES}


def test_each_test_digit_is_kept_as_the_network_gets_it(tmp_path):
    data = load(DataSettings())
    images = kept(tmp_path, data)
    assert images.test.shape == (1297, 8, 8, 3)
    expected = 255 * data.test.images.float().numpy() / 16
    apart = np.abs(images.test.transpose(0, 3, 1, 2) - expected)
    assert apart.max() < 25
    assert apart.mean((1, 2, 3)).max() < 6
    assert (images.classes, images.number, images.files) == ([*"0123456789"], 1297, None)


@pytest.fixture
def pictures(tmp_path):
    """A folder of colour gradients, each its own; 60 of them are test images."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[0:40, 0:50] / 50
    for part, number in (("train", 12), ("test", 30)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for k in range(number):
                a, b, c = rng.uniform(0, 80, (3, 3))
                shown = a + b * down[..., None] + c * across[..., None]
                Image.fromarray(shown.astype(np.uint8)).save(folder / f"{k:02d}.png")
    return load(DataSettings(data=f"folder:{tmp_path / 'pictures'}"))


def test_each_test_picture_is_kept_as_the_network_gets_it_with_its_name(tmp_path, pictures):
    images = kept(tmp_path / "out", pictures, TINY.with_values(train_size=10))
    assert images.test.shape == (60, 64, 64, 3)
    for number in range(60):
        with Image.open(tmp_path / "pictures/test" / images.name(number)) as picture:
            original = picture.resize((64, 64), Image.Resampling.BILINEAR)
        # At the edges a neighbour on the sheet shows through.
        apart = np.abs(images.test[number].astype(int) - np.asarray(original))
        assert apart[8:-8, 8:-8].max() < 12
        assert apart.mean() < 4
    assert images.training == [5, 5]


def test_large_images_are_made_small(tmp_path, pictures):
    images = kept(tmp_path / "out", pictures, TINY.with_values(train_size=10, image_size=100))
    assert images.test.shape == (60, 64, 64, 3)


@pytest.mark.parametrize("first", [0, 3])
def test_training_images_are_augmented_and_drawn_by_the_first_seed(tmp_path, pictures, first):
    request = TINY.with_values(train_size=10, first_seed=first)
    plain = kept(tmp_path / "plain", pictures, request).augmented
    augmented = kept(tmp_path / "augmented", pictures, request.with_values(augment=True)).augmented
    assert plain.shape == augmented.shape == (8, 64, 64, 3)
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in zip(plain, augmented, strict=True))
    index = pictures.subset(10, seed=first).tolist()
    of_seed = [np.asarray(pictures.train.images[i].resize((64, 64), Image.Resampling.BILINEAR)) for i in index]
    nearest = [min(np.abs(image.astype(int) - shown).mean() for shown in of_seed) for image in plain]
    assert max(nearest) < 4


def test_with_fewer_training_images_all_are_kept(tmp_path, pictures):
    assert kept(tmp_path / "out", pictures, TINY.with_values(train_size=3)).augmented.shape == (3, 64, 64, 3)


def normalized(number=30, shape=(1, 20, 30), scale=3.0):
    generator = torch.Generator().manual_seed(0)
    images, labels = scale * torch.randn(number, *shape, generator=generator), torch.arange(number) % 3
    return from_objects((images, labels), (images, labels))


def test_normalized_images_of_any_shape_and_scale_are_shown_from_black_to_white(tmp_path):
    data = normalized(shape=(1, 20, 30))
    images = kept(tmp_path, data, TINY.with_values(train_size=30))
    assert images.test.shape == (30, 20, 30, 3)
    raw, shown = data.test.images[:, 0].numpy(), images.test[..., 0].astype(float)
    assert np.corrcoef(raw.ravel(), shown.ravel())[0, 1] > 0.97
    assert shown.min() < 20
    assert shown.max() > 235


def test_long_images_keep_their_sides(tmp_path):
    data = normalized(shape=(3, 4, 800))
    assert kept(tmp_path, data, TINY.with_values(train_size=30)).test.shape == (30, 1, 64, 3)


def test_images_without_any_contrast_are_kept(tmp_path):
    data = normalized(scale=0.0)
    assert kept(tmp_path, data, TINY.with_values(train_size=30)).test.max() < 10


class Flat(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.stem, self.fc = nn.Conv1d(2, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.stem(x).relu().mean(-1))


def test_what_is_no_image_keeps_its_classes_but_no_pictures(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 2, 16, generator=generator), torch.arange(30) % 3
    compare_objects(Flat, (x, y), (x, y), methods=["none", "moex:at=stem"], out=tmp_path, epochs=1, seeds=1, workers=1)
    images = read_images(tmp_path)
    assert (images.classes, images.number) == (["0", "1", "2"], 30)
    assert (images.test, images.augmented) == (None, None)
    page = (tmp_path / "report.md").read_text()
    assert "## Class by class" in page
    assert "## Picture by picture" in page
    assert "## What the network sees" not in page


def test_too_many_test_images_get_no_sheet_of_them(tmp_path):
    images, labels = torch.zeros(4001, 1, 4, 4), torch.arange(4001) % 2
    data = from_objects((images[:20], labels[:20]), (images, labels))
    found = kept(tmp_path, data, TINY.with_values(train_size=20))
    assert found.test is None
    assert found.augmented.shape == (8, 4, 4, 3)
    before = (tmp_path / "training.jpg").stat().st_mtime_ns
    kept(tmp_path, data, TINY.with_values(train_size=20))
    assert (tmp_path / "training.jpg").stat().st_mtime_ns == before


def test_a_sheet_may_have_any_number_of_images(tmp_path):
    for number in (1, 2, 49, 50, 51, 100, 101):
        images, labels = torch.zeros(101, 1, 6, 6), torch.arange(101) % 2
        images[:, 0, 2:4, 2:4] = torch.linspace(0, 1, 101)[:, None, None]
        data = from_objects((images, labels), (images[:number], labels[:number]))
        out = tmp_path / str(number)
        shown = kept(out, data, TINY.with_values(train_size=101)).test
        assert len(shown) == number
        levels = shown[:, 2:4, 2:4].mean((1, 2, 3))
        assert np.abs(levels - 255 * np.linspace(0, 1, 101)[:number]).max() < 25


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    out = tmp_path_factory.mktemp("gallery") / "out"
    compare(TINY.with_values(out=out))
    return out


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original, tmp_path / "out")
    return tmp_path / "out"


def test_the_files_do_not_depend_on_the_methods(folder, tmp_path):
    compare(TINY.with_values(out=tmp_path / "other", methods=("moex",)))
    assert contents(tmp_path / "other") == contents(folder)


def test_seeds_and_methods_that_are_added_leave_the_files_alone(folder):
    times = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    compare(TINY.with_values(out=folder, methods=("none", "moex"), seeds=2))
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == times


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images.json", b"{"),
        ("images.json", b'{"classes": ["a"], "training": [1]}'),
        ("images.json", b'{"classes": ["a", "b"], "training": [1], "number": 1297, "files": null}'),
        ("images.json", b'{"classes": ["a"], "training": [50], "number": 1297, "files": ["1.png"]}'),
        ("images.json", b'{"classes": ["a"], "training": [50], "number": true, "files": null}'),
        ("images.json", b'{"classes": ["a"], "training": [50], "number": 1%s, "files": null}' % (b"0" * 400)),
        ("images.json", b'{"classes": ["a"], "training": [-1], "number": 1297, "files": null}'),
        ("images.json", b'{"classes": ["a"], "training": [50], "number": 1297, "files": Infinity}'),
        ("images.json", b'{"classes": [1], "training": [50], "number": 1297, "files": null}'),
        ("images.json", b'{"classes": ["a"], "training": [50], "number": 0, "files": []}'),
        ("test.jpg", b""),
        ("test.jpg", 2000),
        ("training.jpg", b"GIF89a"),
        ("training.jpg", (30, 8)),
        ("test.jpg", (400, 8)),
    ],
    ids=str,
)
def test_a_damaged_file_is_one_sentence_whose_way_out_works(folder, call, name, content):
    path, whole = folder / name, (folder / name).read_bytes()
    if isinstance(content, tuple):
        Image.new("RGB", content).save(path)
    else:
        path.write_bytes(whole[:content] if isinstance(content, int) else content)
    files = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    flags = ["--train-size", "50", "--epochs", "1", "--width", "4", "--methods", "none", "--workers", "1"]
    again = ["compare", *flags, "--seeds", "2", "--out", str(folder)]
    for words in (["report", str(folder)], again):
        code, _, told = call(*words)
        assert code == 2
        # After what the data are.
        *_, complaint = told.splitlines()
        assert f"'{path}' is damaged: " in complaint
        assert "Remove it and run the command that made the folder again" in complaint
        assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == files
    path.unlink()
    assert call("report", str(folder))[0] == 0
    assert call(*again)[0] == 0
    assert path.read_bytes() == whole


@pytest.mark.parametrize("change", [{"number": 1298}, {"classes": ["a"], "training": [50]}], ids=str)
def test_a_record_of_other_images_than_those_of_the_runs_is_refused_and_written_anew(folder, call, change):
    path, whole = folder / "images.json", (folder / "images.json").read_bytes()
    path.write_text(json.dumps(json.loads(whole) | change))
    code, _, complaint = call("report", str(folder))
    assert (code, complaint.count("\n")) == (2, 1)
    assert f"'{path}' is damaged: it is of other test images than the runs. Remove it and run the command" in complaint
    compare(TINY.with_values(out=folder))
    assert path.read_bytes() == whole


def test_without_its_images_a_folder_has_a_report_without_them(folder):
    for name in FILES:
        (folder / name).unlink()
    assert read_images(folder) is None
    report.write(folder)
    page = (folder / "report.md").read_text()
    assert not any(title in page for title in ("Class by class", "Picture by picture", "What the network sees"))
    assert "## Learning curves" in page


def test_names_are_kept_up_to_date(tmp_path, pictures):
    images = kept(tmp_path / "out", pictures, TINY.with_values(train_size=10))
    record = json.loads((tmp_path / "out/images.json").read_text())
    assert record["files"] == images.files
    write_record(tmp_path / "out/images.json", record | {"files": ["old.png"] * 60})
    assert kept(tmp_path / "out", pictures, TINY.with_values(train_size=10)).files == images.files
