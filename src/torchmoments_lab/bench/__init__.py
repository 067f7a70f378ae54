"""What the methods cost: `op` times the exchange alone, `step` a whole training step.

Measuring needs PyTorch alone (timm, torchvision or pytorchcv where a model of theirs is named), so it runs on a bare
machine: `python -m torchmoments_lab.bench op --help`. The figure needs matplotlib, and is left out without it.
"""

import importlib.util
import os
from collections.abc import Iterator

from torchmoments_lab.bench.config import Op, Step


def run(config: Op | Step) -> Iterator[dict[str, str | int | float | None]]:
    """Measure, add the rows to the CSV and draw them; gives row after row.

    Raises:
        ValueError: the request makes no sense here.
        ImportError: the package of the model is not installed.
        RuntimeError: what was to be timed is wrong.
    """
    # Before PyTorch is imported: its profiler, which counts the memory, writes to standard error otherwise, and names
    # what was allocated before it started.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from torchmoments_lab.bench import op, rows, step

    config.check()
    rows.check(config.out)
    for case in op.measure(config) if isinstance(config, Op) else step.measure(config):
        every = rows.add(config.out, case)
        yield from case
    if importlib.util.find_spec("matplotlib") is not None:
        from torchmoments_lab.bench import figure

        draw = figure.write_op if isinstance(config, Op) else figure.write_step
        draw(config.out.with_suffix(".png"), every)
