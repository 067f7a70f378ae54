"""Pictures in folders: layouts, what is left out, and what is refused."""

import os
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.data import folder as folder_module
from torchmoments_lab.data import load
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import DataSettings, Preprocessing
from torchmoments_lab.training.feed import Feed


def fill(folder, number, shade=128, ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        Image.fromarray(np.full((20 + index, 30, 3), shade, np.uint8)).save(folder / f"{index}.{ending}")


def folder(path):
    return load(DataSettings(data=f"folder:{path}"))


def names(split):
    paths = [split.images.images.paths[place] for place in split.images.places]
    return [str(path.relative_to(path.parents[1])) for path in paths]


def test_a_fifth_of_each_class_is_held_out_always_the_same(tmp_path):
    fill(tmp_path / "cat", 30)
    fill(tmp_path / "dog", 10)
    data = folder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert np.bincount(data.test.labels).tolist() == [6, 2]
    assert not set(names(data.train)) & set(names(data.test))
    assert len(set(names(data.train)) | set(names(data.test))) == 40
    assert [data.classes[label] for label in data.train.labels] == [name.split("/")[0] for name in names(data.train)]
    assert names(folder(tmp_path).test) == names(data.test)
    assert data.remarks == ()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("train", "val"),
        ("train", "valid"),
        ("training", "testing"),
        ("Train", "TEST"),
        ("Training", "Validation"),
        ("training_set", "test_set"),
        ("train2017", "dev"),
        ("trainset", "eval-images"),
    ],
)
def test_a_split_of_its_own_is_taken_under_each_usual_name(tmp_path, train, test):
    for part, number in ((train, 3), (test, 2)):
        fill(tmp_path / part / "cat" / "more" / "below", number)
        fill(tmp_path / part / "dog", number)
    data = folder(tmp_path)
    assert (len(data.train), len(data.test)) == (6, 4)
    assert data.classes == ("cat", "dog")
    assert data.remarks == (f"Training images are those in '{train}', test images those in '{test}'.",)


def test_with_validation_images_besides_the_test_is_the_test_and_that_is_said(tmp_path):
    for number, part in enumerate(("train", "valid", "test", "extra"), 2):
        fill(tmp_path / part / "cat", number)
        fill(tmp_path / part / "dog", number)
    data = folder(tmp_path)
    assert (len(data.train), len(data.test)) == (4, 8)
    assert data.remarks[0].endswith("test images those in 'test'; 'extra', 'valid' are not used.")


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (
            ["train/cat", "train/dog"],
            "got 'train' in .* Put 'test' beside it, or write folder:.*/train to hold a fifth",
        ),
        (["train/cat", "train/dog", "cat", "dog"], "one folder for training and one for the test, .* got 'train'"),
        (["cat", "dog", "train"], "if 'train' is a class, rename it 'class_train'"),
        (["test/cat", "test/dog"], "Put 'train' beside it"),
        (["cat", "dog", "test"], "got 'test' in .*; if 'test' is a class, rename it"),
        (["Validation", "dog"], "got 'Validation'"),
        (["val/cat", "val/dog", "test/cat", "test/dog"], "got 'test', 'val' in .* Keep one of each"),
        (["train/cat", "train/dog", "test/cat", "test/dog", "Test/cat"], "got 'train', 'Test', 'test'"),
        (["train", "test"], "got '.*train', which holds images but no folders"),
        (
            ["photo/cat", "photo/dog", "sketch/cat", "sketch/dog"],
            "'photo', 'sketch' hold the same folders, 'cat', 'dog'",
        ),
        (
            ["a/cat", "a/dog", "a/owl", "b/cat", "b/dog", "c/owl"],
            "tell classes from domains .* Write domains:.* if they are domains, or folder:.*/a for one",
        ),
        (["train/a/cat", "train/a/dog", "train/b/cat", "train/b/dog", "test/a", "test/b"], "hold the same folders"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], "Write 'test/cat' in place of 'cat/test'"),
        (["set/cat", "set/dog"], "two classes or more; got one folder, 'set', in .*. Write folder:.*/set."),
    ],
)
def test_what_looks_like_splits_or_domains_but_is_not_understood_is_refused(tmp_path, folders, sentence):
    for name in folders:
        fill(tmp_path / name, 3)
    refused(tmp_path, sentence)


@pytest.mark.parametrize(
    "folders",
    [
        ["cat/images", "dog/images"],
        ["cat/monday", "cat/tuesday", "dog/monday", "dog/friday", "dog/sunday"],
        ["cat/left", "cat/right", "cat", "dog/left", "dog/right", "dog"],
        ["class_train", "bus"],
        ["train_station", "test_tube"],
    ],
)
def test_folders_inside_of_classes_and_names_that_hold_more_than_a_part_are_classes(tmp_path, folders):
    for name in folders:
        fill(tmp_path / name, 3)
    assert folder(tmp_path).classes == tuple(sorted({name.split("/")[0] for name in folders}))


def test_batches_have_the_size_of_the_network_and_its_normalization(tmp_path):
    fill(tmp_path / "cat", 4, shade=255)
    fill(tmp_path / "dog", 4, shade=0)
    wanted = Input(channels=3, size=24, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    data = folder(tmp_path)
    feed = Feed(data, wanted, Preprocessing(), torch.device("cpu"))
    (x,) = feed.test()
    assert x.shape == (2, 3, 24, 24)
    assert x.flatten(1).amax(1).tolist() == x.flatten(1).amin(1).tolist() == [2.0, -2.0]
    assert Feed(data, Input(), Preprocessing(), torch.device("cpu")).example(2).shape == (2, 3, 64, 64)
    assert Feed(data, Input(3, 40), Preprocessing(), torch.device("cpu")).example(2).shape == (
        2,
        3,
        40,
        40,
    )


def refused(path, sentence):
    with pytest.raises(ValueError, match=sentence):
        folder(path)


def test_a_folder_that_is_missing_empty_or_of_one_class_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "got '.*nowhere', which does not exist")
    refused(tmp_path, "which has none")
    fill(tmp_path / "cat", 3)
    refused(tmp_path, "two classes or more; got one folder, 'cat'")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "scan.dcm").write_bytes(b"")
    refused(
        tmp_path, "each class needs an image; got none in .*dog'. Left out of the folder: .dcm 1. Remove the folder"
    )
    fill(tmp_path / "dog", 1)
    refused(tmp_path, "without a test part needs two images or more of each class; got 1 of 'dog'")


def test_images_without_class_folders_are_refused(tmp_path):
    fill(tmp_path, 3)
    refused(tmp_path, "a folder for each class, with images; got .*, which holds images but no folders")


def test_a_test_class_that_training_lacks_is_refused(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / part / "cat", 2)
        fill(tmp_path / part / "dog", 2)
    fill(tmp_path / "test" / "owl", 2)
    refused(tmp_path, "has no 'owl'")


def test_unreadable_images_are_named_and_counted(tmp_path):
    fill(tmp_path / "cat", 5)
    fill(tmp_path / "dog", 5)
    folder(tmp_path)
    (tmp_path / "cat" / "1.png").write_text("no picture")
    path = tmp_path / "dog" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "dog" / "3.png").write_bytes(b"")
    refused(tmp_path, r"needs? to be readable; got .*cat/1.png' \(no image\), and 2 more")


def test_a_value_that_is_not_finite_is_named(tmp_path):
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 3)
    pixels = np.zeros((20, 30), np.float32)
    pixels[3, 4] = np.inf
    Image.fromarray(pixels).save(tmp_path / "dog" / "bad.tif")
    refused(tmp_path, r"bad.tif' \(a value that is not finite\)")


def test_hidden_and_thumbnail_folders_are_left_out_at_any_depth(tmp_path):
    fill(tmp_path / "cat" / "deep", 3)
    fill(tmp_path / "dog", 3)
    for name in (".ipynb_checkpoints", "cat/.thumbnails", "cat/deep/@eaDir", "__MACOSX/cat", "dog/a/.git/pictures"):
        fill(tmp_path / name, 2)
    data = folder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.test) == 6
    assert data.remarks == ("Left out of the folder: hidden or thumbnail folders 5.",)


def test_every_file_that_is_left_out_is_counted_in_one_sentence(tmp_path):
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 3)
    fill(tmp_path, 1)
    (tmp_path / "labels.csv").write_text("mine")
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    (tmp_path / "dog" / "more.TXT").write_text("mine")
    (tmp_path / "dog" / "README").write_text("mine")
    (tmp_path / "dog" / "._0.png").write_text("of another system")
    (tmp_path / "dog" / "Thumbs.db").write_text("of another system")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "dog" / "itself").symlink_to(tmp_path / "dog" / "itself")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    data = folder(tmp_path)
    assert len(data.train) + len(data.test) == 6
    assert data.remarks == (
        "Left out of the folder: .csv 1, .txt 2, broken links 2, hidden files 2, no files 1, pictures outside of the "
        "classes' folders 1, without an ending 1.",
    )


def test_a_folder_that_cannot_be_opened_is_counted(tmp_path, monkeypatch):
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 3)
    fill(tmp_path / "dog" / "closed", 3)
    scan = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert folder(tmp_path).remarks == ("Left out of the folder: folders that cannot be opened 1.",)


def test_linked_folders_and_files_are_followed_once_and_never_in_a_circle(tmp_path):
    fill(tmp_path / "elsewhere" / "dog" / "deep", 3)
    fill(tmp_path / "pictures" / "cat", 3)
    (tmp_path / "pictures" / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (tmp_path / "elsewhere" / "dog" / "up").symlink_to(tmp_path / "pictures" / "dog")
    (tmp_path / "elsewhere" / "dog" / "twice").symlink_to(tmp_path / "elsewhere" / "dog" / "deep")
    (tmp_path / "pictures" / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "dog" / "deep" / "0.png")
    data = folder(tmp_path / "pictures")
    assert np.bincount(torch.cat([data.train.labels, data.test.labels])).tolist() == [4, 3]


def test_every_format_that_pillow_reads_is_taken(tmp_path):
    endings = [
        "png",
        "jpg",
        "jfif",
        "bmp",
        "gif",
        "webp",
        "tif",
        "ppm",
        "tga",
        "pcx",
        "jp2",
        "sgi",
        "ico",
        "dib",
        "apng",
    ]
    # An older Pillow cannot write these.
    Image.init()
    endings += [ending for ending in ("avif", "qoi") if ending.upper() in Image.SAVE]
    (tmp_path / "cat").mkdir()
    for ending in endings:
        kind = {"jfif": "JPEG", "apng": "PNG"}.get(ending)
        Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / "cat" / f"picture.{ending.upper()}", kind)
    fill(tmp_path / "dog", 3)
    (tmp_path / "dog" / "paper.pdf").write_text("no picture")
    (tmp_path / "dog" / "film.mpg").write_text("no picture")
    (tmp_path / "dog" / "table.h5").write_text("no picture")
    data = folder(tmp_path)
    assert len(data.train) + len(data.test) == len(endings) + 3
    assert data.remarks == ("Left out of the folder: .h5 1, .mpg 1, .pdf 1.",)


def test_a_class_whose_name_no_terminal_can_show_has_one_that_it_can(tmp_path):
    fill(tmp_path / "cat", 3)
    fill(tmp_path / os.fsdecode(b"caf\xe9\x1b[2J"), 3)
    assert folder(tmp_path).classes == (r"caf\udce9\x1b[2J", "cat")


def test_large_pictures_are_read_one_at_a_time(tmp_path, monkeypatch):
    fill(tmp_path / "cat", 8)
    fill(tmp_path / "dog", 8)
    monkeypatch.setattr(folder_module, "_LARGE", 20 * 30)
    reading, most, guard = 0, 0, threading.Lock()
    read = folder_module.picture_record

    def slow(image):
        nonlocal reading, most
        large = image.width * image.height > 20 * 30
        with guard:
            reading += large
            most = max(most, reading)
        time.sleep(0.01)
        with guard:
            reading -= large
        return read(image)

    monkeypatch.setattr(folder_module, "picture_record", slow)
    folder(tmp_path)
    assert most == 1
