"""The optimizer of a run: the classifier may learn at its own rate, or alone."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from torchmoments_lab.settings import TrainingSettings


def make_optimizer(module: nn.Module, head: Sequence[str], training: TrainingSettings) -> Optimizer:
    """SGD or AdamW over the module's parameters: those of the body at `lr`, those of the head at `head_lr`, if given.

    Args:
        head: names of the layers that are the head.
        training: filled in, see `regime`.
    """
    of_head = [p for name in head for p in module.get_submodule(name).parameters()]
    ids = {id(p) for p in of_head}
    body = [p for p in module.parameters() if id(p) not in ids]
    if training.freeze_body:
        for parameter in body:
            parameter.requires_grad_(False)
        body = []
    groups = [{"params": body, "lr": training.lr}, {"params": of_head, "lr": training.head_lr or training.lr}]
    groups = [group for group in groups if group["params"]]
    decay = training.weight_decay or 0.0
    fused = next(module.parameters()).device.type in ("cpu", "cuda")
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=decay, fused=fused)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=training.nesterov, weight_decay=decay, fused=fused)


def freeze_statistics(module: nn.Module, head: Sequence[str]) -> None:
    """Put the normalizations outside the head, which keep running statistics, into eval mode."""
    for name, part in module.named_modules():
        in_head = any(name == layer or name.startswith(f"{layer}.") for layer in head)
        if isinstance(part, nn.modules.batchnorm._NormBase) and not in_head:
            part.eval()
