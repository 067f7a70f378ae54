"""CIFAR-10 and CIFAR-100 from their "python version", which is also what torchvision downloads.

Those files are pickles. They are read by an unpickler that makes NumPy arrays and nothing else, so a manipulated file
cannot run code.
"""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchmoments_lab.data.download import cache_folder, download
from torchmoments_lab.data.split import Data, Split

_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_FILES = {
    "cifar10": ([f"data_batch_{number}" for number in range(1, 6)], ["test_batch"]),
    "cifar100": (["train"], ["test"]),
}
_LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}
_NAMES = {"cifar10": ("batches.meta", "label_names"), "cifar100": ("meta", "fine_label_names")}
# Of all training images. MoEx's authors use those of CIFAR-10 for CIFAR-100 too.
_MEAN = {"cifar10": (0.4914, 0.4822, 0.4465), "cifar100": (0.5071, 0.4865, 0.4409)}
_STD = {"cifar10": (0.2470, 0.2435, 0.2616), "cifar100": (0.2673, 0.2564, 0.2762)}


def load_cifar(name: str, folder: Path | None) -> Data:
    """`name` ("cifar10" or "cifar100") from a folder; downloaded by torchvision where no folder is given.

    Raises:
        ValueError: files are missing, damaged or hold something else.
    """
    if folder is None:
        folder = cache_folder()
        download(name.upper(), folder)
    classes = 10 if name == "cifar10" else 100
    train, test = ([_find(folder, name, file) for file in files] for files in _FILES[name])
    return Data(
        _read(train, name, classes),
        _read(test, name, classes),
        _class_names(folder, name, classes),
        peak=255.0,
        mean=_MEAN[name],
        std=_STD[name],
    )


def _find(folder: Path, name: str, file: str) -> Path:
    """The file in the folder itself, or where torchvision puts it below."""
    for path in (folder / file, folder / _FOLDERS[name] / file):
        if path.is_file():
            return path
    raise ValueError(
        f"data_dir needs a folder with {_FOLDERS[name]}/{file}; got '{folder}', which "
        f"{'has none' if folder.is_dir() else 'does not exist'}. Write --data-dir with the folder of CIFAR's files."
    )


def _read(paths: list[Path], name: str, classes: int) -> Split:
    pixels, labels = [], []
    for path in paths:
        batch = _unpickle_arrays(path)
        images = batch.get("data")
        of_images = batch.get(_LABELS[name])
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3 * 32 * 32,):
            raise ValueError(f"a CIFAR file needs 'data' of bytes, [N, 3072]; got something else in '{path}'.")
        if not isinstance(of_images, list) or len(of_images) != len(images):
            raise ValueError(
                f"a CIFAR file needs '{_LABELS[name]}' for each of its {len(images):,} images; got "
                f"{len(of_images) if isinstance(of_images, list) else 'none'} in '{path}'."
            )
        if not all(isinstance(label, int) and 0 <= label < classes for label in of_images):
            raise ValueError(f"labels need to be from 0 to {classes - 1}; got others in '{path}'.")
        pixels.append(images.reshape(-1, 3, 32, 32))
        labels += of_images
    return Split.in_memory(torch.from_numpy(np.concatenate(pixels)), torch.tensor(labels))


def _class_names(folder: Path, name: str, classes: int) -> tuple[str, ...]:
    file, key = _NAMES[name]
    try:
        names = _unpickle_arrays(_find(folder, name, file)).get(key)
    except ValueError:
        names = None
    return tuple(map(str, names)) if isinstance(names, list) and len(names) == classes else _numbers(classes)


def _numbers(classes: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(classes))


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]
        allowed = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): codecs.encode}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]


def _unpickle_arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except Exception as error:
        # A damaged pickle may raise anything.
        raise ValueError(f"a CIFAR file needs to be whole, and to hold arrays only; got '{path}' ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"a CIFAR file needs to hold a dict; got {type(content).__name__} in '{path}'.")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}
