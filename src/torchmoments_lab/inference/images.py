"""Images that a trained network is given: a folder, a file, or objects of Python."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from torchmoments_lab.data.folder import ImageFiles, records_of
from torchmoments_lab.data.listing import left_out_sentence, pictures_below
from torchmoments_lab.data.picture import channels_last, float32
from torchmoments_lab.data.records import RECORD, picture_record
from torchmoments_lab.training.preparation import Preparation


@dataclass(frozen=True, eq=False)
class Named:
    """Images as a `Reader` takes them, and their names [N]; a remark says what was left out of their folder."""

    names: tuple[str, ...]
    images: Tensor | Sequence[Any]
    remark: str | None = None


def find_images(given: Any, preparation: Preparation) -> Named:
    """Look at the images once, as at those of a training.

    Args:
        given: path of a folder or of a picture; a list of paths, of PIL images or of arrays of whole numbers; or
            tensors [N, ...] like those of the training.
        preparation: of the network.

    Raises:
        ValueError: there are none, they are others than the network takes, or one cannot be read.
    """
    if preparation.kind != "pictures":
        return _tensors(given, preparation)
    if isinstance(given, str | os.PathLike):
        found = _files(Path(given))
    elif isinstance(given, Tensor | np.ndarray):
        _refuse_floats(given)
        found = _numbered(channels_last(given, batch=1))
    elif isinstance(given, Sequence) and given and all(isinstance(one, str | os.PathLike) for one in given):
        found = Named(tuple(map(str, given)), ImageFiles([Path(one) for one in given]))
    elif isinstance(given, Sequence):
        found = _numbered(given)
    else:
        raise ValueError(
            f"images needs a folder, a file, or a list of PIL images; got {type(given).__name__}. Write [image]."
        )
    if not len(found.images):
        raise ValueError("images needs one picture or more; got none.")
    _check_depth(found, preparation)
    return found


def _tensors(given: Any, preparation: Preparation) -> Named:
    shape = preparation.shape
    assert shape is not None
    wanted = f"[N, {', '.join(map(str, shape))}]"
    if not isinstance(given, Tensor | np.ndarray):
        raise ValueError(
            f"images need to be like those of the training, which were no pictures but tensors {list(shape)}; got "
            f"{type(given).__name__ if not isinstance(given, str | os.PathLike) else repr(str(given))}. In Python, "
            f"write torchmoments_lab.predict(weights, images) with images {wanted}."
        )
    images = float32(given)
    if tuple(images.shape[1:]) != shape or not len(images):
        raise ValueError(f"images need the shape of those of the training, {wanted}; got {list(images.shape)}.")
    return _numbered(images)


def _files(path: Path) -> Named:
    if path.is_file():
        return Named((path.name,), ImageFiles([path]))
    if not path.is_dir():
        raise ValueError(f"images needs a folder of pictures, or a picture; got '{path}', which does not exist.")
    left_out: Counter[str] = Counter()
    paths = pictures_below(path, left_out)
    remark = left_out_sentence(left_out)
    if not paths:
        raise ValueError(f"images needs a picture; got none in '{path}'. {remark or 'Put pictures in it.'}")
    return Named(tuple(one.relative_to(path).as_posix() for one in paths), ImageFiles(paths), remark)


def _numbered(images: Any) -> Named:
    return Named(tuple(map(str, range(len(images)))), images)


def _refuse_floats(given: Tensor | np.ndarray) -> None:
    if given.is_floating_point() if isinstance(given, Tensor) else given.dtype.kind == "f":
        raise ValueError(
            f"images need to be pictures like those of the training; got {given.dtype}, which is taken as normalized. "
            "Give whole numbers from 0 to 255, or PIL images."
        )


def _check_depth(found: Named, preparation: Preparation) -> None:
    """Read each picture once. Raise ValueError if one cannot be read, or is deeper than those of the training."""
    if isinstance(found.images, ImageFiles):
        records = records_of(found.images.paths)
    else:
        records = np.empty(len(found.images), RECORD)
        for index, image in enumerate(found.images):
            try:
                records[index] = picture_record(image)
            except Exception as error:
                # Pillow may raise anything for a damaged file.
                raise ValueError(f"images needs pictures that can be used; image {index}: {error}.") from error
    deep = np.flatnonzero(records["bits"] != 8)
    if len(deep) and preparation.levels is None:
        raise ValueError(
            f"pictures need 8 bits, as those of the training had: what is black and white in deeper ones is not known; "
            f"got {len(deep):,} that have more, '{found.names[deep[0]]}' first. Save them with 8 bits."
        )
