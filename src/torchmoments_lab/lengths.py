"""How long the names of files and folders may be: one that is too long is found before anything is written."""

import os
from pathlib import Path
from urllib.parse import quote

# Bytes of a name in all common file systems.
_NAME = 255
# Bytes of what is written inside a folder, `lr=0.1/runs/moex/seed3/predictions.npy` with two names of that length.
_INSIDE = 600
_SHOWN = 40


def check_path(setting: str, path: Path) -> None:
    """Raise ValueError if a name in the path is too long, or the path for what is going to be in it."""
    flag = setting.replace("_", "-")
    for name in path.parts:
        if _bytes(name) > _NAME:
            raise ValueError(
                f"{setting} needs names of at most {_NAME} bytes; got {_bytes(name)}, '{_short(name)}'. "
                f"Write a shorter --{flag}."
            )
    longest = _longest_path()
    if longest is not None and _bytes(os.path.abspath(path)) > longest - _INSIDE:
        raise ValueError(
            f"{setting} needs a path of at most {longest - _INSIDE:,} bytes; got {_bytes(os.path.abspath(path)):,}, "
            f"'{_short(str(path))}'. Write a shorter --{flag}."
        )


def folder_of(what: str, word: str) -> str:
    """The name of the folder for a word of a request, which is percent-encoded.

    Args:
        what: the setting, for the sentence of an error.

    Raises:
        ValueError: it is too long.
    """
    name = quote(word, safe="=,", errors="surrogateescape")
    if len(name) > _NAME:
        raise ValueError(
            f"{what} needs words that fit into the name of a folder, {_NAME} bytes; got '{_short(word)}', which has "
            f"{len(name)} there: a character other than letters, digits and -_.~=, counts 3 or more. Write a shorter "
            "one."
        )
    return name


def _bytes(name: str) -> int:
    return len(os.fsencode(name))


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 2 :]}"


def _longest_path() -> int | None:
    """In bytes; None if the system does not say."""
    try:
        return os.pathconf("/", "PC_PATH_MAX")
    except (AttributeError, OSError, ValueError):
        return None
