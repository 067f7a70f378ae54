"""What the processes of several devices tell each other; with one device nothing is sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def any_rank(fabric: "Fabric", is_true: Callable[[], bool]) -> Callable[[], bool]:
    """A function that says the same in all ranks: whether `is_true()` in one of them. All call it as often."""
    if fabric.world_size == 1:
        return is_true
    # From CPU to CPU: nobody waits for a GPU.
    group: Any = torch.distributed.new_group(backend="gloo")

    def is_true_in_one() -> bool:
        answer = torch.tensor([is_true()], dtype=torch.uint8)
        torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX, group)
        return bool(answer)

    return is_true_in_one


def gather(fabric: "Fabric", state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of all ranks, [ranks, ...] each; on the CPU."""
    if fabric.world_size == 1:
        return {name: tensor[None] for name, tensor in state.items()}
    return {name: _of_all_ranks(tensor.to(fabric.device), fabric.world_size) for name, tensor in state.items()}


def _of_all_ranks(tensor: Tensor, ranks: int) -> Tensor:
    # Not Fabric's own, which PyTorch warns about.
    gathered = [torch.empty_like(tensor) for _ in range(ranks)]
    torch.distributed.all_gather(gathered, tensor)
    return torch.stack(gathered).cpu()


def of_rank(fabric: "Fabric", state: dict[str, Tensor]) -> dict[str, Tensor]:
    """This rank's part of what `gather` returned."""
    return {name: tensor[fabric.global_rank].clone() for name, tensor in state.items()}


def sum_over_ranks(fabric: "Fabric", values: list[float]) -> list[float]:
    """Each number, added up over the ranks."""
    if fabric.world_size == 1:
        return values
    total = fabric.all_reduce(torch.tensor(values, device=fabric.device), reduce_op="sum")
    return list(torch.as_tensor(total).tolist())
