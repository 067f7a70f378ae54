"""The same pictures, in whatever way they come, give the same batches."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from torchmoments_lab.data import load
from torchmoments_lab.data.describe import facts, sentences
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import DataSettings, Preprocessing
from torchmoments_lab.training.feed import Feed

CPU = torch.device("cpu")
CONTENTS = {
    "8-bit grey": lambda r: r.integers(0, 256, (26, 30), dtype=np.uint8),
    "8-bit colour": lambda r: r.integers(0, 256, (26, 30, 3), dtype=np.uint8),
    "12 bits in 16": lambda r: r.integers(0, 4096, (26, 30)).astype(np.uint16),
    "Hounsfield units": lambda r: r.integers(-1024, 3072, (26, 30)).astype(np.int32),
    "floating point": lambda r: r.random((26, 30)).astype(np.float32) * 3 - 1,
}


class Pictures(Dataset):
    """Items made of arrays by a function."""

    def __init__(self, part, make):
        self.part, self.make = part, make

    def __len__(self):
        return len(self.part)

    def __getitem__(self, index):
        values, label = self.part[index]
        return self.make(values), label


def as_files(path, parts):
    for name, part in zip(("train", "test"), parts, strict=True):
        for index, (values, label) in enumerate(part):
            folder = path / name / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            ending = "png" if values.dtype in (np.uint8, np.uint16) else "tiff"
            Image.fromarray(values).save(folder / f"{index:02}.{ending}")
    return path


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def stacked(part, kind):
    return kind(np.stack([values for values, _ in part])), [label for _, label in part]


WAYS = {
    "folder": lambda path, parts: load(DataSettings(data=f"folder:{as_files(path, parts)}")),
    "ImageFolder": lambda path, parts: from_objects(
        *(ImageFolder(as_files(path, parts) / name, loader=opened) for name in ("train", "test"))
    ),
    "PIL images": lambda path, parts: from_objects(*(Pictures(part, Image.fromarray) for part in parts)),
    "a part of more": lambda path, parts: from_objects(
        *(Subset(Pictures([part[0], *part], Image.fromarray), range(1, 1 + len(part))) for part in parts)
    ),
    "dicts": lambda path, parts: from_objects(
        *([{"image": Image.fromarray(values), "label": label} for values, label in part] for part in parts)
    ),
    "arrays": lambda path, parts: from_objects(*(Pictures(part, np.asarray) for part in parts)),
    "tensors": lambda path, parts: from_objects(
        *(Pictures(part, lambda v: torch.from_numpy(np.atleast_3d(v)).movedim(2, 0)) for part in parts)
    ),
    "arrays in memory": lambda path, parts: from_objects(*(stacked(part, np.asarray) for part in parts)),
    "tensors in memory": lambda path, parts: from_objects(
        *(TensorDataset(*map(torch.as_tensor, stacked(part, torch.from_numpy))) for part in parts)
    ),
}
# Floating point arrays are not pictures: they are taken as normalized.
PAIRS = [
    (way, content)
    for way in WAYS
    for content in CONTENTS
    if content != "floating point" or way in ("ImageFolder", "PIL images", "a part of more", "dicts")
]


def data_of(way, content, path):
    random = np.random.default_rng(0)
    parts = [[(CONTENTS[content](random), index // (number // 2)) for index in range(number)] for number in (8, 4)]
    return WAYS[way](path, parts)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "content"), PAIRS)
@pytest.mark.parametrize("augment", [False, True])
def test_the_same_pictures_give_the_same_batches_in_whatever_way_they_come(tmp_path, way, content, augment):
    def batches(data):
        feed = Feed(data, Input(size=16, fixed_size=True), Preprocessing(augment=augment), CPU)
        images = feed.subset(torch.arange(8))
        return [
            *feed.training(images, [torch.arange(8)], torch.Generator().manual_seed(0)),
            (torch.cat(list(feed.test())), data.test.labels),
        ]

    from_folder, here = (data_of(name, content, tmp_path / name) for name in ("folder", way))
    for (x, y), (same_x, same_y) in zip(batches(from_folder), batches(here), strict=True):
        assert x.shape[1:] == (3, 16, 16)
        assert same_x.equal(x)
        assert same_y.equal(y)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "content"), PAIRS)
def test_the_same_pictures_are_described_in_the_same_words(tmp_path, way, content):
    from_folder, here = (data_of(name, content, tmp_path / name) for name in ("folder", way))
    assert dict(facts(here))["pixels"] == dict(facts(from_folder))["pixels"]
    numbers = {
        "8-bit grey": "8-bit grey; 30 x 26",
        "8-bit colour": "8-bit colour; 30 x 26",
        "12 bits in 16": " from black to white; 30 x 26",
    }
    assert numbers.get(content, "") in sentences(here, "test")[0]
    assert [split.records["digest"].tolist() for split in (here.train, here.test)] == [
        split.records["digest"].tolist() for split in (from_folder.train, from_folder.test)
    ]


def test_a_loader_that_cuts_deep_pictures_off_is_refused(tmp_path):
    data_of("folder", "12 bits in 16", tmp_path)
    with pytest.raises(ValueError, match="train needs a loader that keeps more than 8 bits; that of ImageFolder cuts"):
        from_objects(ImageFolder(tmp_path / "train"), ImageFolder(tmp_path / "test"))
    data_of("folder", "8-bit grey", tmp_path / "bytes")
    folders = [ImageFolder(tmp_path / "bytes" / name) for name in ("train", "test")]
    assert from_objects(Subset(folders[0], range(8)), folders[1]).classes == ("class0", "class1")
