"""Results as rows of a CSV: one row a result, with the hardware and the versions in it."""

import csv
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from torchmoments_lab.files import replacing
from torchmoments_lab.machine import cpu_name, version_of
from torchmoments_lab.process import malloc_settings

Row = dict[str, str | int | float | None]


def machine(device: torch.device, clock: str) -> Row:
    """The columns that say where a result comes from."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or cpu_name(),
        "threads": None if gpu else torch.get_num_threads(),
        "clock": "gpu" if gpu else clock,
        # How glibc was told to hand out memory, which decides a few percent of a step on a CPU.
        "malloc": " ".join(f"{name}={value}" for name, value in malloc_settings().items()),
        "torch": torch.__version__,
        "triton": version_of("triton"),
        "torchmoments": version_of("torchmoments"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def read(path: Path) -> list[Row]:
    """The rows of a CSV; none where there is no file."""
    try:
        with path.open(newline="") as file:
            return [dict(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def add(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Add rows to a CSV, under a temporary name that is moved; gives all rows that it holds now.

    Raises:
        ValueError: the file has other columns.
    """
    before = read(path)
    columns = list(rows[0])
    if before and list(before[0]) != columns:
        raise ValueError(f"out needs a CSV of this benchmark, or none; {path} has other columns. Choose another --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([*before, *rows])
    return read(path)


def check(path: Path) -> None:
    """Raise ValueError, before anything is measured, where rows could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
        if path.stat().st_size == 0:
            path.unlink()
    except OSError as error:
        raise ValueError(f"out needs a file that can be written; got {path}: {error.strerror}.") from error
