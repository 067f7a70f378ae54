"""Trained networks, each from one short run, and the pictures of its test."""

import numpy as np
import pytest
from PIL import Image

from torchmoments_lab.requests import Train
from torchmoments_lab.single import train_once


def save_pictures(path, deep=False):
    """train/ and test/ of two classes: pictures of several sizes and modes, deep ones among them if asked for."""
    random = np.random.default_rng(0)
    for part, number in (("train", 8), ("test", 6)):
        for name in ("cat", "dog"):
            folder = path / part / name
            folder.mkdir(parents=True)
            for index in range(number):
                height, width = random.integers(20, 60, 2)
                channels = [(), (3,), (4,)][index % 3]
                pixels = random.integers(0, 256, (height, width, *channels), dtype=np.uint8)
                picture = Image.fromarray(pixels)
                if deep and index % 2:
                    picture = Image.fromarray(random.integers(300, 4000, (height, width)).astype(np.uint16))
                picture.save(folder / f"{index}.png")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    save_pictures(path)
    return path


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """Trains a tiny network; gives the folder of its run."""

    def trained(**settings):
        out = tmp_path_factory.mktemp("run") / "out"
        train_once(Train().with_values(**{"epochs": 1, "width": 4, "batch_size": 8, "out": out, **settings}))
        return out

    return trained


@pytest.fixture(scope="session")
def runs(train, pictures):
    """The folders of two seeds on pictures."""
    settings = {"data": f"folder:{pictures}", "image_size": 24, "test_crop": 0.8, "augment": True}
    return [train(**settings, seed=seed) for seed in (0, 1)]
