"""Data sets known by name: scikit-learn's digits, and MNIST's and CIFAR's formats from small files written here."""

import gzip
import hashlib
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import datasets

from torchmoments_lab.data import load
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import DataSettings, Preprocessing
from torchmoments_lab.training.feed import Feed

IMAGES = {"train": 40, "t10k": 20}


def test_all_but_500_digits_are_the_test_set_always_the_same_and_every_image_is_used_once():
    digits, again = load(DataSettings()), load(DataSettings())
    assert (len(digits.train), len(digits.test)) == (500, 1297)
    together = np.concatenate([digits.train.images.numpy(), digits.test.images.numpy()]).reshape(1797, 64)
    assert len(np.unique(together, axis=0)) == 1797
    assert again.test.images.equal(digits.test.images)
    assert again.test.labels.equal(digits.test.labels)
    shares = [np.bincount(split.labels) / len(split) for split in (digits.train, digits.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.002


def test_pixels_of_the_digits_are_standardized():
    images = Feed(load(DataSettings()), Input(), Preprocessing(), torch.device("cpu")).example(500)
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05


def idx(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(folder, ending=""):
    """The four files; gives the pixels and labels by prefix."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    written = {}
    for prefix, number in IMAGES.items():
        pixels = random.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        for name, values in ((f"{prefix}-images-idx3-ubyte", pixels), (f"{prefix}-labels-idx1-ubyte", labels)):
            content = idx(values)
            (folder / f"{name}{ending}").write_bytes(gzip.compress(content) if ending else content)
        written[prefix] = pixels, labels
    return written


@pytest.fixture
def config(tmp_path):
    return DataSettings(data="fashion-mnist", data_dir=tmp_path / "data")


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_plain_and_gzipped_files_give_the_pixels_written(config, ending, below):
    written = write(config.data_dir / below, ending)
    data = load(config)
    for split, prefix in ((data.train, "train"), (data.test, "t10k")):
        assert np.array_equal(split.images.numpy()[:, 0], written[prefix][0])
        assert np.array_equal(split.labels.numpy(), written[prefix][1])
    assert data.classes[9] == "ankle boot"


def refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(config)


def test_a_missing_folder_or_file_is_named(config):
    refused(config, "train-images-idx3-ubyte or .*, which does not exist")
    write(config.data_dir)
    (config.data_dir / "t10k-labels-idx1-ubyte").unlink()
    refused(config, "t10k-labels-idx1-ubyte or .*, which has neither")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda content: content[:-1], r"cannot reshape array of size 31359 into shape \(40,28,28\)"),
        (lambda content: content + b"more", r"cannot reshape array of size 31364 into shape \(40,28,28\)"),
        (lambda content: content[:9], "buffer is smaller than requested size"),
        (lambda content: b"", "it begins with nothing instead of 00000803"),
        (lambda content: idx(np.zeros(40, np.uint8)), "it begins with 00000801 instead of 00000803"),
    ],
)
def test_a_file_that_is_cut_short_too_long_or_of_another_kind_is_named(config, damage, sentence):
    write(config.data_dir)
    path = config.data_dir / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    refused(
        config, f"an IDX file of 3 axes needs to be whole and readable; got '.*train-images-idx3-ubyte' .{sentence}"
    )


def test_a_gzipped_file_cut_short_is_refused(config):
    write(config.data_dir, ".gz")
    path = config.data_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    refused(config, "whole and readable; got .*train-images-idx3-ubyte.gz")


def test_images_and_labels_of_different_number_are_refused(config):
    write(config.data_dir)
    (config.data_dir / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    refused(config, "20 images and 19 labels in the t10k files")


def test_a_label_outside_the_classes_is_refused(config):
    write(config.data_dir)
    (config.data_dir / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, np.uint8)))
    refused(config, "from 0 to 9; got a 10")


def test_a_failed_download_is_one_sentence(config, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets, "FashionMNIST", fail)
    refused(replace(config, data_dir=None), r"download of FashionMNIST .* failed \(no network\).*--data-dir")


class Evil:
    def __reduce__(self):
        return print, ("code of the file ran",)


CIFAR = {
    "cifar10": ("CIFAR10", {f"data_batch_{number}": 20 for number in range(1, 6)} | {"test_batch": 10}, "labels"),
    "cifar100": ("CIFAR100", {"train": 200, "test": 100}, "fine_labels"),
}


def batch(number, labels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (number, 3072), dtype=np.uint8)
    return {"data": pixels, labels: [index % 10 for index in range(number)]}


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Writes files, which torchvision takes for those that were published; gives the settings."""

    def write(name):
        kind, files, labels = CIFAR[name]
        source = getattr(datasets, kind)
        contents = {file: batch(number, labels, seed) for seed, (file, number) in enumerate(files.items())}
        contents[source.meta["filename"]] = {source.meta["key"]: [f"thing {n}" for n in range(100)]}
        checksums = {}
        for file, content in contents.items():
            path = tmp_path / source.base_folder / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pickle.dumps(content))
            checksums[file] = hashlib.md5(path.read_bytes()).hexdigest()
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(source, part, [(file, checksums[file]) for file, _ in getattr(source, part)])
        monkeypatch.setattr(source, "meta", source.meta | {"md5": checksums[source.meta["filename"]]})
        return DataSettings(data=name, data_dir=tmp_path)

    return write


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_files_give_the_pixels_written_in_rows_and_the_names_of_the_classes(cifar, name):
    config = cifar(name)
    _, files, labels = CIFAR[name]
    data = load(config)
    written = [batch(number, labels, seed) for seed, number in enumerate(files.values())]
    for split, parts in ((data.train, written[:-1]), (data.test, written[-1:])):
        # Red, then green, then blue, each row by row.
        pixels = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
        assert np.array_equal(split.images.numpy(), pixels)
        assert split.labels.tolist() == [label for part in parts for label in part[labels]]
    assert data.classes[7] == "thing 7"
    below = replace(config, data_dir=config.data_dir / getattr(datasets, CIFAR[name][0]).base_folder)
    assert load(below).train.images.equal(data.train.images)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_cifar_file_that_is_not_as_published_is_named_and_never_unpickled(cifar, file, capfd):
    config = cifar("cifar10")
    path = config.data_dir / "cifar-10-batches-py" / file
    path.write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    refused(config, f"cifar-10-batches-py as it was published; got '.*{file}', which has another checksum")
    assert "ran" not in capfd.readouterr().out
    path.unlink()
    refused(config, f"got '.*{file}', which does not exist. Write --data-dir .* or --data your.module:make_data")
