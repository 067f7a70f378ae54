"""Files that are read whole and written whole, so that nobody ever sees half of one."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"'{path}' needs to hold JSON; it is damaged ({error}). Remove it, or its folder.") from error


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name and move."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A table as CSV; the columns are the keys of the first row."""
    file = StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()
