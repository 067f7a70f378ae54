"""Compile Triton's kernels for compute capability 9.0 exactly as they would be launched, without a GPU.

Prints one line a kernel: its name, registers a thread, bytes of stack (what spills), and the widest read of memory.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from torchmoments.ops import reference
from torchmoments.ops.norms import group
from torchmoments.ops.triton import chunk_kernels, exchange_kernels

BINARIES = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class NoDevice(DriverBase):
    """Says what to compile for; nothing runs."""

    def __init__(self):
        pass

    @classmethod
    def is_active(cls):
        return True

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")

    def map_python_to_cpp_type(self, kind):
        return kind

    def get_benchmarker(self):
        return None


class CompileOnly:
    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        def launch(*arguments, **settings):
            compiled = self.kernel.run(*arguments, grid=grid, warmup=True, **settings)
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                file.write(compiled.asm["cubin"])
                file.flush()
                usage = subprocess.run(
                    [BINARIES / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
                ).stdout
            registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
            reads = re.findall(r"ld\.global[.\w:]*?\.(?:v(\d)\.)?[bu](\d+)", compiled.asm["ptx"])
            widest = max(int(number or 1) * int(bits) // 8 for number, bits in reads)
            print(f"{self.kernel.__name__} registers={registers} stack={stack} read_bytes={widest}", flush=True)

        return launch


def compile_for(shape, norm, dtype, memory_format=torch.contiguous_format, weighted=False, positive_only=False):
    x = group(torch.empty(shape, dtype=dtype).to(memory_format=memory_format), norm)
    partner, mixed = torch.arange(shape[0]), None if weighted else torch.ones(shape[0], dtype=torch.bool)
    weight = torch.ones(shape[0], dtype=reference.statistics_type(x.view)) if weighted else None
    axes = list(x.axes)
    y, *kept = torch.ops.torchmoments.exchange(
        x.view, partner, mixed, weight, axes, 1e-5, "both", positive_only, "both"
    )
    torch.ops.torchmoments.exchange_backward(
        y, x.view, partner, mixed, weight, *kept, axes, "both", positive_only, "both"
    )


def compile_renormalize_for(shape, dtype):
    x = torch.empty(shape, dtype=dtype)
    moment = torch.ones(shape[0], 1, *shape[2:])
    torch.ops.torchmoments.renormalize(x, moment, moment, moment, moment, None, [1])
    torch.ops.torchmoments.renormalize_backward(x, x, moment, moment, moment, None, [1])


if __name__ == "__main__":
    triton.runtime.driver.set_active(NoDevice())
    for module in (exchange_kernels, chunk_kernels):
        for name, kernel in list(vars(module).items()):
            if isinstance(kernel, triton.JITFunction) and name.startswith(("exchange_", "chunk_")):
                setattr(module, name, CompileOnly(kernel))
    contiguous, last = torch.contiguous_format, torch.channels_last
    compile_for((8, 64, 56, 56), "pono", torch.bfloat16, contiguous)
    compile_for((8, 64, 56, 56), "in", torch.float32, contiguous)
    compile_for((8, 64, 56, 56), "in", torch.float32, last)
    compile_for((64, 64, 56, 56), "ln", torch.bfloat16, last)
    compile_renormalize_for((8, 64, 56, 56), torch.float16)
    # Arguments that are 1 become constants, which have fewer methods.
    compile_for((1, 64, 1, 1), "pono", torch.float16, weighted=True)
    compile_for((4, 1, 8, 8), "in", torch.float32, positive_only=True, weighted=True)
    compile_for((64, 64, 56, 56), "ln", torch.float64, positive_only=True)
    compile_renormalize_for((1, 8, 1, 1), torch.float32)
