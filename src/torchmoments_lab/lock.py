"""Folders for results: found usable, and held by one process at a time."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import filelock

from torchmoments_lab.differing import differing
from torchmoments_lab.files import RECORDS, SWEEP, UNFINISHED, read_record

_LOCK = ".lock"
# The epochs of a run that trains, see `training.epochs`.
_EPOCHS = ".metrics.csv"
# What a process that was killed leaves, in a folder that has nothing else yet.
_LEFT = (_LOCK, f"*{UNFINISHED}", _EPOCHS, "tensorboard")
# Where comparisons are in a folder: it is one, or has them.
_COMPARISONS = ("", "*/")
# What is in a folder of runs whose record was lost.
RUNS = "runs/*/seed*/config.json"


def working_in(
    out: Path, record: str, kind: str, lost: Sequence[str] = (RUNS,), *, dry_run: bool = False
) -> AbstractContextManager[None]:
    """`hold` for a folder that has a record.

    Args:
        record: name of the file that tells the folder is ours.
        lost: patterns of what tells it where no command's record is there.
    """
    has_record = any(os.path.exists(out / name) for name in RECORDS)
    return hold(out, (record,) if has_record else lost, kind, dry_run=dry_run)


@contextmanager
def hold(out: Path, known: Sequence[str], kind: str, *, dry_run: bool = False) -> Iterator[None]:
    """Make the folder if it is not there, and hold its lock while the block runs; half-made files are removed.

    Args:
        out: the folder.
        known: patterns; a folder that has a file like that is ours.
        kind: what writes there, for the sentence of an error.
        dry_run: only find out whether it could be done; another process may be working there.

    Raises:
        ValueError: it is a file, has other files, cannot be written, or another process holds it.
    """
    try:
        _check_ours(out, known, kind)
        # The comparisons of a sweep are held together: it may have more than a process may open files.
        home = out.parent if (out.parent / SWEEP).exists() else out
        lock = filelock.FileLock(home / _LOCK, timeout=0)
        if not dry_run:
            out.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"out needs a folder that nobody is working in; got '{out}', where another `torchmoments {kind}` is "
            "running. Wait for its end, or choose another one with --out."
        ) from None
    except OSError as error:
        raise ValueError(
            f"out needs a folder that can be written; got '{out}' ({error.strerror}). Choose another one with --out."
        ) from error
    if dry_run:
        yield
        return
    try:
        _remove_half_made(out)
        yield
    finally:
        _remove_half_made(out)
        for path in _matches(out, "runs/*/.seed*.lock"):
            # One that is held is of another process.
            with suppress(filelock.Timeout, OSError), filelock.FileLock(path, timeout=0):
                path.unlink()
        with suppress(OSError):
            (home / _LOCK).unlink()
        lock.release()


def _check_ours(out: Path, known: Sequence[str], kind: str) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"out needs a folder; got the file '{out}'. Choose another one with --out.")
    if out.is_dir() and not any(any(out.glob(pattern)) for pattern in known):
        others = sorted(path.name for path in out.iterdir() if not any(fnmatch(path.name, left) for left in _LEFT))
        if others:
            raise ValueError(
                f"out needs a new or empty folder, or one of `torchmoments {kind}`; got '{out}', which holds other "
                f"files, such as {others[0]}. Choose another one with --out."
            )
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _remove_half_made(out: Path) -> None:
    for place in ("", "runs/*/", "runs/*/seed*/"):
        for leftover in _matches(out, f"{place}*{UNFINISHED}"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    for checkpoint in _matches(out, "runs/*/.seed*.pt"):
        if _is_complete(checkpoint.with_name(checkpoint.stem.removeprefix("."))):
            checkpoint.unlink(missing_ok=True)
    for leftover in (*out.glob(_EPOCHS), *_matches(out, f"runs/*/.seed*{_EPOCHS}")):
        leftover.unlink(missing_ok=True)


def _is_complete(run: Path) -> bool:
    with suppress(ValueError):
        return "failed" not in (read_record(run / "summary.json") or {"failed": "it has not ended"})
    return False


def _matches(out: Path, pattern: str) -> Iterator[Path]:
    """The files of all comparisons in a folder."""
    for comparison in _COMPARISONS:
        yield from out.glob(f"{comparison}{pattern}")


def refuse_other_settings(out: Path, held: Mapping[str, Any], came: Mapping[str, Any], last_way: str = "") -> None:
    """Raise ValueError, with the old and the new values, unless the folder's settings are these.

    Args:
        last_way: what helps besides.
    """
    different = differing(held, came)
    if different:
        ways = f"Keep to what it holds, {f'{last_way}, ' if last_way else ''}or choose another --out."
        raise ValueError(f"'{out}' holds runs with {different}. {ways}")
