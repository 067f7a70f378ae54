"""Files that are read whole and written whole, so that nobody ever sees half of one."""

import csv
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from torchmoments_lab.lengths import folder_of

SWEEP = "sweep.json"
# A command recognizes its folder by these; made again from the runs in it if lost.
RECORDS = ("comparison.json", SWEEP, "probe.json", "inspect.json")
# The end of the temporary name of what is being written; nobody else's files end so.
UNFINISHED = ".unfinished"
# Made again from the data, see `gallery`.
_OF_IMAGES = ("images.json", "test.jpg", "training.jpg")


def runs_folder(out: Path, spec: str) -> Path:
    """The folder of the runs of one method, in a folder of many.

    Raises:
        ValueError: the spec is too long for its name.
    """
    return out / "runs" / folder_of("methods", spec)


def read_record(path: Path, **kinds: type) -> dict[str, Any] | None:
    """What a JSON file holds; None if there is no file.

    Args:
        kinds: {name: type} that it needs to have.

    Raises:
        ValueError: the file is damaged; the sentence says what to do.
    """
    try:
        record = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise damaged(path, str(error)) from error
    if not isinstance(record, dict):
        raise damaged(path, "it is no JSON object")
    absent = [name for name, kind in kinds.items() if name not in record or type(record[name]) is not kind]
    if absent:
        raise damaged(path, f"it has no {', '.join(absent)}")
    return record


def read_json(path: Path) -> Any:
    """What a JSON file of ours holds. Raises ValueError for NaN and Infinity, which `write_json` never writes."""

    def refuse(constant: str) -> None:
        raise ValueError(f"it has {constant}")

    return json.loads(path.read_bytes(), parse_constant=refuse)


def damaged(path: Path, why: str) -> ValueError:
    """The error for a file of a folder of results, with the way out of it."""
    repair = (
        "Remove it and run the command that made the folder again: complete runs are kept."
        if path.name in (*RECORDS, *_OF_IMAGES)
        else f"Delete the folder '{path.parent}' and run the command that made it again: that trains this run anew."
    )
    return ValueError(f"results need whole files; '{path}' is damaged: {' '.join(why.split())}. {repair}")


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write what is read again later, unless it stands there already.

    Raises:
        ValueError: it would not be read back equal.
    """
    if json.loads(json.dumps(record)) != record:
        raise ValueError(f"'{path}' needs values that JSON gives back equal; got {record}.")
    if read_record(path) != record:
        write_json(path, record)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; bytes of a path that are none stand as in JSON, \\udcff."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write under a temporary name, and move it.

    Raises:
        OSError: it could not be written, and is as it was.
    """
    # Two reports may be made at the same time; and the path's own name may be as long as names can be.
    temporary = path.with_name(f".{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with naming(path):
            temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def in_memory(save: Callable[[BytesIO], Any]) -> memoryview:
    """What a function writes to a file: libraries that write files themselves hide why they could not."""
    file = BytesIO()
    save(file)
    return file.getbuffer()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes when the block ends. What processes that were killed have left there goes first."""
    start = "torchmoments-"
    for left in Path(gettempdir()).glob(f"{start}*-*"):
        process = left.name.removeprefix(start).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"{start}{os.getpid()}-") as folder:
        yield Path(folder)


def _runs(process: int) -> bool:
    if os.name != "posix":
        # There, a signal of 0 is Ctrl-C.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of writing says which file, as that of opening does."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def is_of_the_disk(error: Exception) -> bool:
    """Whether nothing can be written: whatever is tried next fails in the same way."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV; the columns are the keys of the first row."""
    file = StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
