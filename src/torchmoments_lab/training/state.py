"""The state of a run between two epochs, or between two steps: all that what is left of it depends on."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchmoments_lab.training.epochs import Epoch
from torchmoments_lab.training.ranks import gather, of_rank
from torchmoments_lab.training.tally import Tally

if TYPE_CHECKING:
    from torchmoments_lab.training.train import Training


@dataclass
class Begun:
    """An epoch of which some steps are done.

    Args:
        lr: of its first step.
        order, augment: states of the generators before its first step.
        seconds: of these steps.
    """

    lr: float
    order: Tensor
    augment: Tensor
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


def state_of(training: "Training") -> dict[str, Any]:
    """The state, with that of all ranks in it: each calls this."""
    ranks, begun = {"random": torch.get_rng_state(), "inputs": training.inputs.get_state()}, None
    order, augment = training.order.get_state(), training.augment.get_state()
    if training.begun is not None:
        # The batches of the epoch are drawn again.
        tally, order, augment = training.begun.tally, training.begun.order, training.begun.augment
        begun = {"lr": training.begun.lr, "seconds": training.begun.seconds, "steps": tally.steps}
        ranks["tally"] = torch.tensor([tally.loss, tally.accuracy, tally.mixed], dtype=torch.float64)
    if training.fabric.device.type == "cuda":
        ranks["random_of_device"] = torch.cuda.get_rng_state(training.fabric.device)
    return {
        **{name: getattr(training, name) for name in ("epoch", "steps", "seconds")},
        "epochs": [asdict(epoch) for epoch in training.epochs],
        **{name: part.state_dict() for name, part in _parts(training).items()},
        "order": order,
        "augment": augment,
        "begun": begun,
        "ranks": gather(training.fabric, ranks),
    }


def set_state(training: "Training", state: dict[str, Any]) -> None:
    """Continue from what `state_of` returned."""
    training.epoch, training.steps, training.seconds = state["epoch"], state["steps"], state["seconds"]
    training.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
    for name, part in _parts(training).items():
        part.load_state_dict(state[name])
    training.order.set_state(state["order"])
    training.augment.set_state(state["augment"])
    ranks = of_rank(training.fabric, state["ranks"])
    # Earlier versions saved whole epochs alone.
    begun = state.get("begun")
    if begun is not None:
        loss, accuracy, mixed = ranks["tally"].tolist()
        tally = Tally(loss, accuracy, int(mixed), begun["steps"])
        training.begun = Begun(begun["lr"], state["order"], state["augment"], tally, begun["seconds"])
    torch.set_rng_state(ranks["random"])
    training.inputs.set_state(ranks["inputs"])
    if "random_of_device" in ranks and training.fabric.device.type == "cuda":
        torch.cuda.set_rng_state(ranks["random_of_device"], training.fabric.device)


def _parts(training: "Training") -> dict[str, Any]:
    """What keeps its own state."""
    parts = {
        "model": training.module,
        "optimizer": training.optimizer,
        "schedule": training.schedule,
        "scaler": training.fabric.strategy.precision,
    }
    if training.average is not None:
        parts["average"] = training.average
    return parts if training.site is None else parts | {"site": training.site}
