"""The pictures below a folder, and what is left out there."""

import os
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from PIL import Image

# Of what systems and programs put beside pictures, besides names that begin with a dot.
_NOT_THE_USERS = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "@recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbnails",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
}
# Pillow knows these by name, but has no pixels of them without another program.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}

HIDDEN_FOLDERS, HIDDEN_FILES = "hidden or thumbnail folders", "hidden files"
BROKEN_LINKS, CLOSED_FOLDERS, OTHERS = "broken links", "folders that cannot be opened", "no files"
OUTSIDE = "pictures outside of the classes' folders"


@cache
def endings() -> frozenset[str]:
    """The endings of all formats that the installed Pillow reads."""
    formats = Image.registered_extensions()
    # A Multi-Picture file is a JPEG to begin with.
    readable = {*Image.OPEN, "MPO"} - _NO_PICTURES
    return frozenset(ending for ending, kind in formats.items() if kind in readable)


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _NOT_THE_USERS


def folders_in(path: Path, left_out: Counter[str]) -> list[Path]:
    """The folders directly in a folder, sorted by name; files beside them are counted as left out."""
    folders = []
    for entry in _entries(path, left_out):
        if _is_folder(entry):
            folders.append(Path(entry.path))
        else:
            left_out[_why_left_out(entry) or OUTSIDE] += 1
    return sorted(folders)


def has_pictures(path: Path) -> bool:
    """Whether some lie directly in a folder."""
    return any(not _is_folder(entry) and _why_left_out(entry) is None for entry in _entries(path, Counter()))


def pictures_below(path: Path, left_out: Counter[str]) -> list[Path]:
    """The pictures in a folder and in those below it, sorted. Links to folders are followed, into each folder once."""
    found, waiting, been = [], [path], set()
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in been:
            continue
        been.add(real)
        for entry in _entries(folder, left_out):
            if _is_folder(entry):
                waiting.append(Path(entry.path))
            elif (why := _why_left_out(entry)) is None:
                found.append(Path(entry.path))
            else:
                left_out[why] += 1
    return sorted(found)


def said_of(left_out: Mapping[str, int]) -> str | None:
    """One sentence on all that was left out; None if nothing was."""
    counted = [f"{why} {count:,}" for why, count in left_out.items() if count]
    return f"Left out of the folder: {', '.join(sorted(counted))}." if counted else None


def _entries(path: Path, left_out: Counter[str]) -> list["os.DirEntry[str]"]:
    """Without hidden folders, which are counted here because nobody looks into them."""
    try:
        with os.scandir(path) as listed:
            entries = list(listed)
    except OSError:
        left_out[CLOSED_FOLDERS] += 1
        return []
    hidden = [entry for entry in entries if is_hidden(entry.name) and _is_folder(entry)]
    left_out[HIDDEN_FOLDERS] += len(hidden)
    return [entry for entry in entries if entry not in hidden]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False


def _why_left_out(entry: "os.DirEntry[str]") -> str | None:
    if is_hidden(entry.name):
        return HIDDEN_FILES
    if entry.is_symlink() and not os.path.exists(entry.path):
        return BROKEN_LINKS
    if not entry.is_file():
        return OTHERS
    ending = Path(entry.name).suffix.lower()
    return None if ending in endings() else f"{ending or 'without an ending'}"
