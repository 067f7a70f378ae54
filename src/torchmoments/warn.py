"""Warnings that name the line of the user's program."""

import sys
import warnings
from pathlib import Path
from types import FrameType

import torch

# Hooks are called by PyTorch, so a number of frames tells nothing.
_INSIDE = tuple(f"{Path(file).parent}/" for file in (__file__, torch.__file__))


def warn(message: str) -> None:
    """A UserWarning at the innermost line that is neither PyTorch's nor this package's."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
