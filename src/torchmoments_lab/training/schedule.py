"""The batches of an epoch, and the learning rate over a run: the warm-up, then the schedule."""

import math

import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from torchmoments_lab.settings import TrainingSettings


def batches(images: int | Tensor, batch_size: int, generator: torch.Generator, at_least: int = 2) -> list[Tensor]:
    """The images of an epoch in random order: indices of [batch_size] each, the last batch what is left.

    Fewer than `at_least` left alone join the batch before: BatchNorm and a partner need two on each device.

    Args:
        images: their number, each is taken once; or a weight for each, and as many are drawn with replacement.
    """
    if isinstance(images, Tensor):
        order = torch.multinomial(images, len(images), replacement=True, generator=generator)
    else:
        order = torch.randperm(images, generator=generator)
    split = list(torch.split(order, batch_size))
    if len(split) > steps_an_epoch(len(order), batch_size, at_least):
        last = split.pop()
        split[-1] = torch.cat([split[-1], last])
    return split


def steps_an_epoch(size: int, batch_size: int, at_least: int = 2) -> int:
    """How many `batches` there are of so many images."""
    full, rest = divmod(size, batch_size)
    return max(1, full + (rest >= at_least))


def make_schedule(
    training: TrainingSettings, epochs: int, steps: int, optimizer: Optimizer
) -> lr_scheduler.LRScheduler:
    """The learning rate of a run of so many epochs, of so many steps each.

    Changed once an epoch: W epochs of warm-up at lr * k / (W + 1), k = 1 .. W, then the schedule. Changed at each step:
    see `factor_at_step`.
    """
    if training.schedule_every == "step":
        each = lr_scheduler.LambdaLR(optimizer, lambda step: factor_at_step(training, epochs, steps, step))
        # In 16-mixed a step that overflows is left out; of the first one PyTorch would warn as of a mistake.
        optimizer._opt_called = True  # type: ignore[attr-defined]
        return each
    warmup = training.warmup_epochs or 0
    if not warmup:
        return _once_an_epoch(training.schedule, epochs, 0, optimizer)
    growing = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    then = _once_an_epoch(training.schedule, epochs, warmup, optimizer)
    return lr_scheduler.SequentialLR(optimizer, [growing, then], [warmup])


def factor_at_step(training: TrainingSettings, epochs: int, steps: int, step: int) -> float:
    """What lr is multiplied by at one step of a run, counted from 0.

    Warm-up over its w steps is (step + 1) / w; then the cosine is (1 + cos(pi t)) / 2, with t from 0 to 1 over what is
    left.
    """
    warmup = (training.warmup_epochs or 0) * steps
    if step < warmup:
        return (step + 1) / warmup
    if training.schedule == "step":
        return 0.1 ** sum(step >= milestone * steps for milestone in _milestones(epochs))
    if training.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / (epochs * steps - warmup))) / 2


def _once_an_epoch(name: str, epochs: int, after: int, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    if name == "step":
        milestones = [milestone - after for milestone in _milestones(epochs)]
        return lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    if name == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return lr_scheduler.CosineAnnealingLR(optimizer, epochs - after)


def _milestones(epochs: int) -> list[int]:
    """The epochs after which the step schedule divides by ten."""
    return [max(1, epochs // 2), max(1, epochs * 3 // 4)]
