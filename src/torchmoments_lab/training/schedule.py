"""The learning rate over a run: the warm-up, then the schedule."""

import math

from torch.optim import Optimizer, lr_scheduler

from torchmoments_lab.config import Schedule, TrainConfig


def make_schedule(config: TrainConfig, epochs: int, steps: int, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    """The learning rate of a run of so many epochs, of so many steps each.

    Changed once an epoch: W epochs of warm-up at lr * k / (W + 1), k = 1 .. W, then the schedule. Changed at each step:
    see `factor_at_step`.
    """
    if config.schedule_every == "step":
        each = lr_scheduler.LambdaLR(optimizer, lambda step: factor_at_step(config, epochs, steps, step))
        # In 16-mixed a step that overflows is left out; of the first one PyTorch would warn as of a mistake.
        optimizer._opt_called = True  # type: ignore[attr-defined]
        return each
    warmup = config.warmup_epochs
    if not warmup:
        return _once_an_epoch(config.schedule, epochs, 0, optimizer)
    growing = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    then = _once_an_epoch(config.schedule, epochs, warmup, optimizer)
    return lr_scheduler.SequentialLR(optimizer, [growing, then], [warmup])


def factor_at_step(config: TrainConfig, epochs: int, steps: int, step: int) -> float:
    """What lr is multiplied by at one step of a run, counted from 0.

    Warm-up over its w steps is (step + 1) / w; then the cosine is (1 + cos(pi t)) / 2, with t from 0 to 1 over what is
    left.
    """
    warmup = config.warmup_epochs * steps
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "step":
        return 0.1 ** sum(step >= milestone * steps for milestone in _milestones(epochs))
    if config.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / (epochs * steps - warmup))) / 2


def _once_an_epoch(name: Schedule, epochs: int, after: int, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    if name == "step":
        milestones = [milestone - after for milestone in _milestones(epochs)]
        return lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    if name == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return lr_scheduler.CosineAnnealingLR(optimizer, epochs - after)


def _milestones(epochs: int) -> list[int]:
    """The epochs after which the step schedule divides by ten."""
    return [max(1, epochs // 2), max(1, epochs * 3 // 4)]
