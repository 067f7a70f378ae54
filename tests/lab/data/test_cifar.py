"""CIFAR's file formats, from small files written here."""

import pickle

import numpy as np
import pytest

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.data import load


class Evil:
    def __reduce__(self):
        return print, ("code of the file ran",)


def pickled(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def batch(number, classes, labels="labels", seed=0):
    random = np.random.default_rng(seed)
    return {
        b"data": random.integers(0, 256, (number, 3072), dtype=np.uint8),
        labels.encode(): [index % classes for index in range(number)],
    }


@pytest.fixture
def cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    for number in range(1, 6):
        pickled(folder / f"data_batch_{number}", batch(20, 10, seed=number))
    pickled(folder / "test_batch", batch(10, 10))
    return TrainConfig(data="cifar10", data_dir=tmp_path)


@pytest.fixture
def cifar100(tmp_path):
    folder = tmp_path / "cifar-100-python"
    pickled(folder / "train", batch(200, 100, "fine_labels"))
    pickled(folder / "test", batch(100, 100, "fine_labels"))
    pickled(folder / "meta", {b"fine_label_names": [f"thing {number}" for number in range(100)]})
    return TrainConfig(data="cifar100", data_dir=tmp_path)


def test_five_batches_give_the_pixels_written_in_rows(cifar10):
    data = load(cifar10)
    assert (len(data.train), len(data.test), len(data.classes)) == (100, 10, 10)
    for number in range(1, 6):
        written = batch(20, 10, seed=number)
        part = slice(20 * (number - 1), 20 * number)
        # Red, then green, then blue, each row by row.
        assert data.train.images[part][3, 1, 2, 5] == written[b"data"][3, 1024 + 2 * 32 + 5]
        assert data.train.labels[part].tolist() == written[b"labels"]


def test_hundred_classes_have_their_names(cifar100):
    data = load(cifar100)
    assert (len(data.train), len(data.test)) == (200, 100)
    assert data.classes[7] == "thing 7"


def test_nothing_but_arrays_is_unpickled(cifar10, capfd):
    pickled(cifar10.data_dir / "cifar-10-batches-py" / "data_batch_3", {b"data": Evil(), b"labels": []})
    with pytest.raises(ValueError, match=r"arrays only; got .*data_batch_3.* \(it asks for .*print\)"):
        load(cifar10)
    assert "ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({b"data": np.zeros((3, 100), np.uint8), b"labels": [0, 0, 0]}, "needs 'data' of bytes"),
        ({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 0]}, "for each of its 3 images; got 2"),
        ({b"data": np.zeros((3, 3072), np.uint8)}, "for each of its 3 images; got none"),
        ({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 0, 10]}, "from 0 to 9"),
        ([1, 2], "needs to hold a dict; got list"),
    ],
)
def test_a_file_of_something_else_is_refused(cifar10, content, sentence):
    pickled(cifar10.data_dir / "cifar-10-batches-py" / "test_batch", content)
    with pytest.raises(ValueError, match=sentence):
        load(cifar10)


def test_a_file_cut_short_or_missing_is_named(cifar10):
    path = cifar10.data_dir / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="whole.*data_batch_2"):
        load(cifar10)
    path.unlink()
    with pytest.raises(ValueError, match="data_batch_2; got .*has none"):
        load(cifar10)
