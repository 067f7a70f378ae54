"""Where there is no GPU, Triton's kernels run under its interpreter. It has to be said before Triton is imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
