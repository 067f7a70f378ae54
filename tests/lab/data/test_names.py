"""The names of images: those of their files, from the folder on that holds them all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.datasets import ImageFolder

from torchmoments_lab.data import load
from torchmoments_lab.data.folder import ImageFiles
from torchmoments_lab.data.names import names_of
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.split import Part
from torchmoments_lab.settings import DataSettings


def fill(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((12, 12, 3), 128, np.uint8)).save(folder / name)


def test_names_of_a_held_out_part_start_with_the_class(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name / "deep", [f"{number}.png" for number in range(10)])
    data = load(DataSettings(data=f"folder:{tmp_path}"))
    names = names_of(data.test.images)
    assert [name.split("/")[0] for name in names] == [data.classes[label] for label in data.test.labels]
    assert not set(names) & set(names_of(data.train.images))
    every = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert set(names) | set(names_of(data.train.images)) == every
    validation = data.without_test()
    assert [names_of(data.train.images)[place] for place in validation.test.images.places] == names_of(
        validation.test.images
    )


def test_names_of_a_test_folder_do_not_name_it(tmp_path):
    for part, number in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            fill(tmp_path / part / name, [f"{part}{k}.png" for k in range(number)])
    data = load(DataSettings(data=f"folder:{tmp_path}"))
    assert names_of(data.test.images) == ["cat/test0.png", "cat/test1.png", "dog/test0.png", "dog/test1.png"]


def test_places_of_places_are_followed():
    files = ImageFiles([Path(f"/a/b/{number}.png") for number in range(10)])
    inner = Part(files, [9, 7, 5, 3])
    assert names_of(Part(inner, [2, 0])) == ["5.png", "9.png"]


def test_names_that_cannot_be_printed_are_spelled_out():
    assert names_of(ImageFiles([Path("/a/c/1\udcfc.png"), Path("/a/\nd/2.png")])) == ["c/1\\udcfc.png", "\\nd/2.png"]


def test_a_single_image_has_the_name_of_its_file():
    assert names_of(ImageFiles([Path("/a/c/1.png")])) == ["1.png"]


def test_torchvisions_folders_and_subsets_of_them_have_names(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name, [f"{number}.png" for number in range(4)])
    dataset = ImageFolder(tmp_path)
    data = from_objects(dataset, Subset(Subset(dataset, [0, 7, 5, 2]), [3, 1, 2]))
    assert names_of(data.train.images) == [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(4)]
    assert names_of(data.test.images) == ["cat/2.png", "dog/3.png", "dog/1.png"]


class Items(Dataset):
    """A user's own, with an attribute of torchvision's name."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(1, 8, 8), index % 2


@pytest.mark.parametrize(
    "samples",
    [
        [(torch.zeros(1), 0)] * 4,
        [("a.png", 0)] * 3,
        [("a.png", 0)] * 3 + [(7, 0)],
        [()] * 4,
        ["a.png"] * 4,
        {"a.png": 0},
        [("/a/b.png", 0)] * 3 + [("b.png", 0)],
    ],
    ids=["tensors", "too few", "a number", "empty", "words", "dict", "half absolute"],
)
def test_samples_that_are_no_files_for_each_image_give_no_names(samples):
    data = from_objects(Items(samples), Items(samples))
    assert names_of(data.test.images) is None


def test_samples_of_a_users_own_dataset_give_names():
    samples = [(f"pictures/{number}.png", 0) for number in range(4)]
    data = from_objects(Items(samples), Items(samples))
    assert names_of(data.test.images) == ["0.png", "1.png", "2.png", "3.png"]


def test_images_in_memory_have_no_names():
    assert names_of(torch.zeros(4, 1, 8, 8)) is None
    assert names_of(load(DataSettings()).test.images) is None
    rows = np.zeros((4, 8, 8, 3), np.uint8)
    data = from_objects((rows, [0, 1, 0, 1]), (rows, [0, 1, 0, 1]))
    assert names_of(data.test.images) is None
