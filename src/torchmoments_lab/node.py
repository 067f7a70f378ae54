"""What a process of a cluster does with a job: train it in a folder of its own, report its epochs, return its files.

Imports no PyTorch by itself.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Any

from torchmoments_lab.files import temporary_folder

if TYPE_CHECKING:
    from torchmoments_lab.jobs import Job

# What figures may depend on.
_PACKAGES = ("torchmoments", "torch", "torchvision", "timm", "numpy", "pillow")
_SECONDS_BETWEEN_REPORTS = 2


def versions() -> dict[str, str]:
    """Those of Python and of the packages of this machine that figures may depend on."""
    found = {"python": python_version()}
    for name in _PACKAGES:
        try:
            # Of one version there are builds for several kinds of GPU.
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def train(shipment: Any, number: int, device: str, board: Any) -> tuple[str | None, dict[str, bytes]]:
    """Do one of the jobs.

    Args:
        shipment: Ray's reference to a `shipping.Shipment`.
        number: of the job in it.
        board: see `cluster`; gets the epochs.

    Returns:
        The reason if it failed, and the files that it wrote, {path below the folder of `Job.within`: content}.
    """
    job = _jobs(shipment)[number].on(device)
    with temporary_folder() as folder:
        there = job.within(folder)
        with _reported(there, number, board):
            reason = there.train()
        files = (path for path in folder.rglob("*") if path.is_file())
        return reason, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@lru_cache(maxsize=1)
def _jobs(shipment: Any) -> "list[Job]":
    """Read once by each process; the first time, it is set up too."""
    import ray

    from torchmoments_lab.process import import_fabric, keep_memory, without_collector

    keep_memory()
    with without_collector():
        import_fabric()
        import torchmoments_lab.shipping  # noqa: F401
    jobs: list[Job] = ray.get(shipment).jobs()
    return jobs


@contextmanager
def _reported(job: "Job", number: int, board: Any) -> Iterator[None]:
    """Tell the board that the job has begun and, now and then, what its epochs came to, while the block runs."""
    is_over = threading.Event()

    def report() -> None:
        told = b""
        while not is_over.wait(_SECONDS_BETWEEN_REPORTS):
            epochs = job.epochs_file.read_bytes() if job.epochs_file.exists() else b""
            if epochs != told:
                told = epochs
                board.report.remote(number, told)

    board.report.remote(number, b"")
    reports = threading.Thread(target=report, daemon=True)
    reports.start()
    try:
        yield
    finally:
        is_over.set()
        reports.join()
