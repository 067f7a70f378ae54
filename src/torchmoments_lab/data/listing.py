"""The pictures below a folder, and the number of files that are left out.

torchvision's `make_dataset` would walk in a circle of links, go into hidden folders, and not say what it left out.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import Image

# Names that begin with a dot, and what systems and programs put beside pictures.
_HIDDEN = re.compile(
    r"\..*|__macosx|__pycache__|@eadir|[#@]recycle|\$recycle\.bin|system volume information|lost\+found|thumbnails"
    r"|(eh)?thumbs\.db|desktop\.ini",
    re.IGNORECASE | re.DOTALL,
)
# Pillow knows these by name, but has no pixels of them without another program.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}


def listed(path: Path, left_out: Counter[str]) -> tuple[list[Path], list[Path]]:
    """The folders and the pictures directly in a folder. These pictures are of no class, and counted as left out."""
    _, folders, pictures = next(_walk(path, left_out), ("", [], []))
    left_out["pictures outside of the classes' folders"] += len(pictures)
    return folders, pictures


def pictures_below(path: Path, left_out: Counter[str]) -> list[Path]:
    """The pictures in a folder and in those below it, sorted. Links to folders are followed, into each folder once."""
    return sorted(picture for _, _, pictures in _walk(path, left_out) for picture in pictures)


def left_out_sentence(left_out: Mapping[str, int]) -> str | None:
    """Returns None if nothing was left out."""
    counted = [f"{why} {count:,}" for why, count in left_out.items() if count]
    return f"Left out of the folder: {', '.join(sorted(counted))}." if counted else None


def _walk(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, list[Path], list[Path]]]:
    """(folder, folders in it, pictures in it) of a folder and of those below it that are not hidden."""

    def closed(_error: OSError) -> None:
        left_out["folders that cannot be opened"] += 1

    visited = set()
    for name, folders, files in os.walk(path, followlinks=True, onerror=closed):
        shown = sorted(folder for folder in folders if not _HIDDEN.fullmatch(folder))
        hidden = len(folders) - len(shown)
        # os.walk goes into the folders that are still in its list.
        folders[:] = shown
        real = os.path.realpath(name)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        left_out["hidden or thumbnail folders"] += hidden
        reasons = {file: _why_left_out(os.path.join(name, file)) for file in files}
        left_out.update(reason for reason in reasons.values() if reason is not None)
        yield name, [Path(name, folder) for folder in shown], [Path(name, f) for f in files if reasons[f] is None]


def _why_left_out(path: str) -> str | None:
    name = os.path.basename(path)
    if _HIDDEN.fullmatch(name):
        return "hidden files"
    if not os.path.isfile(path):
        return "broken links" if os.path.islink(path) and not os.path.exists(path) else "no files"
    ending = Path(name).suffix.lower()
    return None if ending in _endings() else ending or "without an ending"


@cache
def _endings() -> frozenset[str]:
    """The endings of all formats that the installed Pillow reads."""
    formats = Image.registered_extensions()
    # A Multi-Picture file is a JPEG to begin with.
    readable = {*Image.OPEN, "MPO"} - _NO_PICTURES
    return frozenset(ending for ending, kind in formats.items() if kind in readable)
