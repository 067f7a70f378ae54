"""Folders for results: found usable, and held by one process at a time."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

_LOCK = ".lock"


def hold(out: Path, known: Sequence[str], kind: str) -> filelock.BaseFileLock:
    """Make the folder if it is not there, and hold its lock, which the caller releases.

    Args:
        out: the folder.
        known: a folder that has one of these files is ours.
        kind: what writes there, for the sentence of an error.

    Raises:
        ValueError: it is a file, has other files, cannot be written, or another process holds it.
    """
    try:
        if out.exists() and not out.is_dir():
            raise ValueError(f"out needs a folder; got the file '{out}'. Choose another one with --out.")
        if out.is_dir() and not any((out / name).exists() for name in known):
            others = sorted(path.name for path in out.iterdir() if path.name != _LOCK)
            if others:
                raise ValueError(
                    f"out needs a new or empty folder, or one of `torchmoments {kind}`; got '{out}', which holds other "
                    f"files, such as {others[0]}. Choose another one with --out."
                )
        out.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(out / _LOCK, timeout=0)
        held.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"out needs a folder that nobody is working in; got '{out}', where another `torchmoments {kind}` is "
            "running. Wait for its end, or choose another one with --out."
        ) from None
    except OSError as error:
        raise ValueError(
            f"out needs a folder that can be written; got '{out}' ({error.strerror}). Choose another one with --out."
        ) from error
    return held


@contextmanager
def working_in(out: Path, record: str, kind: str) -> Iterator[None]:
    """Hold a folder while the block runs; what runs left half-made is removed. Arguments and errors as in `hold`.

    Args:
        record: name of the file that tells the folder is ours.
    """
    lock = hold(out, known=(record,), kind=kind)
    try:
        for leftover in out.glob("**/.seed*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def refuse_other_settings(out: Path, held: Mapping[str, Any], came: Mapping[str, Any]) -> None:
    """Raise ValueError, with the old and the new values, unless the folder's settings are these."""
    differing = [name for name in {**held, **came} if held.get(name) != came.get(name)]
    if differing:
        of_held, of_came = (", ".join(f"{name} {of.get(name)}" for name in differing) for of in (held, came))
        raise ValueError(
            f"'{out}' holds runs with {of_held}; got {of_came}. Write the old value, or choose another --out."
        )
