"""Files that are read whole and written whole, so that nobody ever sees half of one."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

# A command recognizes its folder by these; made again from the runs in it if lost.
RECORDS = ("comparison.json", "sweep.json", "probe.json", "inspect.json")
# Made again from the data, see `gallery`.
_OF_IMAGES = ("images.json", "test.jpg", "training.jpg")


def runs_folder(out: Path, spec: str) -> Path:
    """The folder of the runs of one method, in a folder of many; the spec is percent-encoded."""
    return out / "runs" / quote(spec, safe="=,")


def read_record(path: Path, **kinds: type) -> dict[str, Any] | None:
    """What a JSON file holds; None if there is no file.

    Args:
        kinds: {name: type} that it needs to have.

    Raises:
        ValueError: the file is damaged; the sentence says what to do.
    """
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise damaged(path, str(error)) from error
    if not isinstance(record, dict):
        raise damaged(path, "it is no JSON object")
    absent = [name for name, kind in kinds.items() if name not in record or not isinstance(record[name], kind)]
    if absent:
        raise damaged(path, f"it has no {', '.join(absent)}")
    return record


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


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, under a temporary name; it takes the place of `path` when the block ends, or goes."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV; the columns are the keys of the first row."""
    file = StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
