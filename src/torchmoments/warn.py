"""Warnings that point to the line of the user's program."""

import sys
import sysconfig
import warnings
from pathlib import Path
from types import FrameType

import torch

# Hooks are called by PyTorch, and models by trainers of other packages, so a fixed stack level would not work.
_FOLDERS = (Path(__file__).parent, Path(torch.__file__).parent, *map(sysconfig.get_path, ("purelib", "platlib")))
_INSIDE = tuple(f"{folder}/" for folder in _FOLDERS)


def warn(message: str, category: type[UserWarning] = UserWarning) -> None:
    """Warn at the innermost line that is neither in this package nor in an installed one, such as PyTorch."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
