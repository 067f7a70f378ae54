"""torchvision's download of a data set, which checks what it got."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloaded data sets are kept, for all projects of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchmoments"


def download(name: str, folder: Path) -> None:
    """Let torchvision's data set `name` download its files to `folder`, unless they are there.

    Raises:
        ValueError: the download failed.
    """
    from torchvision import datasets

    try:
        getattr(datasets, name)(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the download of {name} to '{folder}' failed ({error}). Get its files in another way, and write "
            "--data-dir with their folder."
        ) from error
