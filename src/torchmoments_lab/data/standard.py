"""The data sets with a name of their own: scikit-learn's digits, MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from torchmoments_lab.data.split import Data, Split

# Chosen once: the same test images for every run, whatever its seed.
_TEST_SPLIT_SEED = 0
# Few, because the method is for few; what is left for the test says how well all the rest is told apart.
_DIGITS_TO_TRAIN = 500
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class _Benchmark:
    """Facts that are not in the files. `name` is torchvision's."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flips: bool = True


_BENCHMARKS = {
    "mnist": _Benchmark("MNIST", _DIGITS, (0.1307,), (0.3081,), flips=False),
    "fashion-mnist": _Benchmark(
        "FashionMNIST",
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        (0.2860,),
        (0.3530,),
    ),
    # Mean and std of all training images. MoEx's authors use those of CIFAR-10 for CIFAR-100 too.
    "cifar10": _Benchmark("CIFAR10", (), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _Benchmark("CIFAR100", (), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def load_digits() -> Data:
    """1,797 images of 8 x 8 pixels: 500 to draw training images from, 1,297 for the test."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    pixels, labels = datasets.load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        torch.from_numpy(pixels.astype(np.float32).reshape(-1, 1, 8, 8)),
        torch.from_numpy(labels.astype(np.int64)),
        train_size=_DIGITS_TO_TRAIN,
        stratify=labels,
        random_state=_TEST_SPLIT_SEED,
    )
    train, test = Split.in_memory(train_x, train_y), Split.in_memory(test_x, test_y)
    return Data(train, test, _DIGITS, peak=16.0, mean=(4.9 / 16,), std=(6.0 / 16,), flips=False)


def load_files(name: str, folder: Path | None) -> Data:
    """One of the other four from its files, which torchvision downloads if no folder is named.

    Raises:
        ValueError: the download failed, or files are missing, damaged, inconsistent or of another kind.
    """
    benchmark = _BENCHMARKS[name]
    if folder is None:
        folder = _download(benchmark.name)
    train, test, classes = (_read_cifar if name.startswith("cifar") else _read_mnist)(benchmark, folder)
    return Data(train, test, classes, peak=255.0, mean=benchmark.mean, std=benchmark.std, flips=benchmark.flips)


def _download(name: str) -> Path:
    """Download the files unless they are there. Returns their folder, which all projects of a user share."""
    from torchvision import datasets

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchmoments"
    try:
        getattr(datasets, name)(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the download of {name} to '{folder}' failed ({error}). Get its files in another way, and write "
            "--data-dir with their folder."
        ) from error
    return folder


def _read_cifar(benchmark: _Benchmark, folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """The published files, through torchvision. They are pickles, so files with other checksums are not opened."""
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    source = getattr(datasets, benchmark.name)
    root = folder.parent if folder.name == source.base_folder else folder
    try:
        parts = [source(root, train=train) for train in (True, False)]
    except RuntimeError as error:
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        paths = [(root / source.base_folder / name, checksum) for name, checksum in files]
        path = next((path for path, checksum in paths if not check_integrity(path, checksum)), root)
        raise ValueError(
            f"data_dir needs a folder with {source.base_folder} as it was published; got '{path}', which "
            f"{'has another checksum, so it is not unpickled' if path.exists() else 'does not exist'}. Write "
            "--data-dir with the folder of the published files, or --data your.module:make_data for others."
        ) from error
    train, test = (
        Split.in_memory(torch.from_numpy(part.data.transpose(0, 3, 1, 2)), torch.tensor(part.targets)) for part in parts
    )
    return train, test, tuple(parts[0].classes)


def _read_mnist(benchmark: _Benchmark, folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """IDX files, gzipped or plain. torchvision reads only plain ones."""

    def read(name: str, axes: int) -> np.ndarray:
        places = (folder, folder / benchmark.name / "raw")
        for path in (place / f"{name}{ending}" for place in places for ending in ("", ".gz")):
            if path.is_file():
                return _read_idx(path, axes)
        raise ValueError(
            f"data_dir needs a folder with {name} or {name}.gz; got '{folder}', which "
            f"{'has neither' if folder.is_dir() else 'does not exist'}. Write --data-dir with the folder of the IDX "
            "files."
        )

    def split(part: str) -> Split:
        pixels, labels = read(f"{part}-images-idx3-ubyte", 3), read(f"{part}-labels-idx1-ubyte", 1).astype(np.int64)
        if len(pixels) != len(labels) or not len(labels):
            raise ValueError(
                f"images and labels need to be as many; got {len(pixels):,} images and {len(labels):,} labels in the "
                f"{part} files of '{folder}'. Take both from the same data set."
            )
        if labels.max() >= len(benchmark.classes):
            raise ValueError(
                f"labels need to be from 0 to {len(benchmark.classes) - 1}; got a {labels.max()} in the {part} files "
                f"of '{folder}'."
            )
        return Split.in_memory(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels))

    return split("train"), split("t10k"), benchmark.classes


def _read_idx(path: Path, axes: int) -> np.ndarray:
    """The unsigned bytes of an IDX file, gzipped or plain.

    It is two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each axis as 32 bits with the
    highest first, then the values. Source: Yann LeCun, "The MNIST database of handwritten digits".
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic = bytes([0, 0, 8, axes])
        if content[:4] != magic:
            raise ValueError(f"it begins with {content[:4].hex() or 'nothing'} instead of {magic.hex()}")
        shape = np.frombuffer(content, ">u4", axes, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(
            f"an IDX file of {axes} axes needs to be whole and readable; got '{path}' ({error})."
        ) from error
