"""An exponential moving average of the weights over the steps (Polyak averaging), as fine-tuning uses it."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of the module that follows it, parameters and buffers: call `update_parameters(module)` after each step.

    The decay grows from 0.1 as (1 + n) / (10 + n), so that a short run forgets where it started.
    """

    def update(averages: Sequence[Tensor], own: Sequence[Tensor], number: Tensor) -> None:
        n = int(number)
        now = min(decay, (1 + n) / (10 + n))
        for average, current in zip(averages, own, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - now)
            else:
                average.copy_(current)

    return AveragedModel(module, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
