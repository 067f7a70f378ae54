"""MNIST's file format, from small files written here."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.data import load

IMAGES = {"train": 40, "t10k": 20}


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
    return TrainConfig(data="fashion-mnist", data_dir=tmp_path / "data")


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


def test_a_file_cut_short_is_refused(config):
    write(config.data_dir)
    path = config.data_dir / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(config, r"shape \[40, 28, 28\] needs 31,376 bytes; got 31,375 .*cut short")
    path.write_bytes(whole[:9])
    refused(config, "header of 16 bytes; got 9")
    path.write_bytes(b"")
    refused(config, "got nothing")


def test_a_gzipped_file_cut_short_is_refused(config):
    write(config.data_dir, ".gz")
    path = config.data_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    refused(config, "whole and readable; got .*train-images-idx3-ubyte.gz")


def test_a_wrong_magic_number_is_refused(config):
    write(config.data_dir)
    path = config.data_dir / "train-images-idx3-ubyte"
    path.write_bytes((config.data_dir / "train-labels-idx1-ubyte").read_bytes())
    refused(config, "needs to begin with 00000803; got 00000801")


def test_images_and_labels_of_different_number_are_refused(config):
    write(config.data_dir)
    (config.data_dir / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    refused(config, "20 images in .* and 19 labels")


def test_a_label_outside_the_classes_is_refused(config):
    write(config.data_dir)
    (config.data_dir / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, np.uint8)))
    refused(config, "from 0 to 9; got a 10")


def test_a_failed_download_is_one_sentence(config, tmp_path, monkeypatch):
    from torchvision import datasets

    def fail(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets, "FashionMNIST", fail)
    refused(replace(config, data_dir=None), r"download of FashionMNIST .* failed \(no network\).*--data-dir")
