"""One run: train one network with one method and one seed.

Runs of one seed are paired: the same training images, initial weights, order of the batches, augmentation and dropout,
whatever the method. Each has its own stream of random numbers, and the site's is separate from all of them.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.data.split import Data
from torchmoments_lab.inputs import input_stream
from torchmoments_lab.methods import Method
from torchmoments_lab.models.attach import attach, check_effect
from torchmoments_lab.models.place import default_place
from torchmoments_lab.models.trial import does_not_run, output_of
from torchmoments_lab.training.checkpoint import Checkpoint, gather, of_rank, sum_over_ranks
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.schedule import make_schedule
from torchmoments_lab.training.seeds import seeds_of
from torchmoments_lab.training.tally import NotFiniteError, Tally
from torchmoments_lab.training.task import Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Epoch:
    """Means over the images of one epoch, in train mode. Loss and accuracy (percent) count mixed labels by weight.

    `lr` is that of its first step.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float


@dataclass(frozen=True)
class Result:
    """What one run gives.

    Args:
        epochs: see `Epoch`.
        scores: probabilities of the classes for the test images [N, K] float32. None on other ranks than the first.
        seconds: of training.
        weights: the trained state_dict, on the CPU.
    """

    epochs: list[dict[str, float]]
    scores: np.ndarray | None
    seconds: float
    weights: dict[str, Tensor]


def train(
    task: Task,
    method: Method,
    seed: int,
    data: Data,
    *,
    fabric: "Fabric | None" = None,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Train one network, and predict the test images once, after the last epoch.

    The caller's random numbers and number of threads are as before when it returns.

    Args:
        fabric: one device where None. With several, each trains on its share of each batch.
        checkpoint: where the state is kept after each epoch, and taken up again.
        progress: called with the number of epochs done and their total.

    Raises:
        FloatingPointError: the loss is not finite; the sentence says at which step.
    """
    if fabric is None:
        fabric = make_fabric(task.config)
    with own_random_numbers(fabric.device, threads):
        training = Training(task, method, seed, data, fabric)
        if checkpoint is not None:
            training.take_up(checkpoint)
        while not training.is_complete:
            training.run_epoch()
            if checkpoint is not None:
                training.keep(checkpoint)
            progress(training.epoch, training.total_epochs)
        return training.result()


def step(model: Any, site: tm.Site | None, x: Tensor, y: Tensor, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One forward of a batch, mixed where the method says so: (loss, accuracy), both scalars.

    Args:
        y: class indices, or soft targets of mixed images.
        groups: the classes of the images, for partners of the same or of another one.
    """
    with nullcontext() if site is None else site.mixing(len(x), groups=groups) as plan:
        output = logits(model(x))
    loss = tm.mixed_loss(F.cross_entropy, output, y, plan)
    return loss, tm.mixed_accuracy(output.detach(), y, plan)


class Training:
    """The state of one run between two epochs."""

    def __init__(self, task: Task, method: Method, seed: int, data: Data, fabric: "Fabric") -> None:
        config = task.config
        # `prepare` fills them in.
        assert config.train_size is not None
        assert config.epochs is not None
        assert config.lr is not None
        seeds = seeds_of(seed)
        built = task.initial(data, seed)
        self.config = config
        self.fabric = fabric
        self.feed = Feed(data, built.input, config, fabric.device)
        self.pool = self.feed.pool(data.subset(config.train_size, seed))
        self.order = torch.Generator().manual_seed(seeds.order)
        self.augment = torch.Generator().manual_seed(seeds.augment)
        self.method = method
        self.classes = len(data.classes)
        self.inputs = input_stream(seed, fabric.global_rank)
        self.module = fabric.to_device(built.module)
        place = dict(task.facts).get("place")
        self.site = attach(self.module, method, self.feed.example(2), seed, None if place is None else str(place))
        optimizer = torch.optim.SGD(
            self.module.parameters(),
            config.lr,
            momentum=0.9,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=fabric.device.type in ("cpu", "cuda"),
        )
        self.least = 2 * fabric.world_size
        steps = steps_an_epoch(len(self.pool), config.batch_size, self.least)
        self.schedule = make_schedule(config, config.epochs, steps, optimizer)
        compiled: Any = torch.compile(self.module) if config.compile else self.module
        self.model, self.optimizer = fabric.setup(compiled, optimizer)
        self.total_epochs = config.epochs
        self.epoch = 0
        self.steps = 0
        self.seconds = 0.0
        self.epochs: list[dict[str, float]] = []
        # Last, so that it does not matter what was drawn until now. The ranks have different images, and should have
        # different dropout.
        torch.manual_seed(seeds.network + fabric.global_rank)

    @property
    def is_complete(self) -> bool:
        return self.epoch >= self.total_epochs

    def run_epoch(self) -> None:
        start = time.perf_counter()
        self.epoch += 1
        lr = float(self.schedule.get_last_lr()[0])
        tally = Tally()
        try:
            self._run_steps(tally)
            tally.read()
        except NotFiniteError as bad:
            raise FloatingPointError(
                f"the loss needs to stay finite; it became {bad.value} at step {self.steps + bad.step} (epoch "
                f"{self.epoch} of {self.total_epochs}). Try a smaller learning rate than {self.config.lr:g}."
            ) from None
        self.steps += tally.steps
        loss, accuracy = sum_over_ranks(self.fabric, [tally.loss, tally.accuracy])
        images = len(self.pool)
        self.epochs.append(asdict(Epoch(self.epoch, loss / images, 100 * accuracy / images, lr)))
        if self.config.schedule_every == "epoch":
            self.schedule.step()
        self.seconds += time.perf_counter() - start

    def _run_steps(self, tally: Tally) -> None:
        fabric = self.fabric
        self.model.train()
        split = batches(len(self.pool), self.config.batch_size, self.order, at_least=self.least)
        feed = self.feed.training(self.pool, split, self.augment, fabric.global_rank, fabric.world_size)
        for index, (x, y) in zip(split, feed, strict=True):
            groups = y if self.method.pairs_classes else None
            if self.method.inputs is not None:
                x, y = self.method.inputs(x, y, self.classes, self.inputs)
            loss, accuracy = step(self.model, self.site, x, y, groups)
            self.optimizer.zero_grad()
            # DDP averages over the ranks, whose shares of a batch may differ by one image.
            share = len(x) * fabric.world_size / len(index)
            fabric.backward(loss if share == 1 else loss * share)
            self.optimizer.step()
            if self.config.schedule_every == "step":
                self.schedule.step()
            tally.add(loss, accuracy, len(x))

    def result(self) -> Result:
        weights = {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}
        scores = self._predict() if self.fabric.global_rank == 0 else None
        if scores is not None and not np.isfinite(scores).all():
            raise FloatingPointError(
                "the scores of the test images need to be finite; after the last step some are not. "
                f"Try a smaller learning rate than {self.config.lr:g}."
            )
        return Result(self.epochs, scores, self.seconds, weights)

    def _predict(self) -> np.ndarray:
        """Probabilities [N, K] float32 of the test images, in eval mode."""
        self.module.eval()
        scores = []
        with torch.inference_mode(), self.fabric.autocast():
            for x in self.feed.test():
                scores.append(logits(self.module(x)).float().softmax(1).cpu())
        return torch.cat(scores).numpy()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write the state after an epoch, that of all ranks."""
        ranks = {"random": torch.get_rng_state(), "inputs": self.inputs.get_state()}
        if self.fabric.device.type == "cuda":
            ranks["random_of_device"] = torch.cuda.get_rng_state(self.fabric.device)
        state = {
            "epoch": self.epoch,
            "steps": self.steps,
            "seconds": self.seconds,
            "epochs": self.epochs,
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "order": self.order.get_state(),
            "augment": self.augment.get_state(),
            "ranks": gather(self.fabric, ranks),
            "site": None if self.site is None else self.site.state_dict(),
        }
        if self.fabric.global_rank == 0:
            checkpoint.write(state)
        self.fabric.barrier()

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was written, if there is one."""
        state = checkpoint.read()
        if state is None:
            return
        self.epoch, self.steps, self.seconds = state["epoch"], state["steps"], state["seconds"]
        self.epochs = state["epochs"]
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        self.order.set_state(state["order"])
        self.augment.set_state(state["augment"])
        ranks = of_rank(self.fabric, state["ranks"])
        torch.set_rng_state(ranks["random"])
        self.inputs.set_state(ranks["inputs"])
        if "random_of_device" in ranks and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(ranks["random_of_device"], self.fabric.device)
        if self.site is not None:
            self.site.load_state_dict(state["site"])


def check(task: Task, methods: list[Method], data: Data) -> tuple[str | None, str | None]:
    """Build the network once and run it on a few images, mixed at each place of each method.

    Returns:
        The default place, None where it is not found and no method needs it; and what of the weights was left out.

    Raises:
        ValueError: the network cannot be built or does not fit the data, or a method does not fit the network.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built = task.build(data)
        feed = Feed(data, built.input, task.config, torch.device("cpu"))
        x = feed.example(4)
        try:
            _check_outputs(built.module, x, len(data.classes), task.config.model)
            place = _default_place_or_none(built.module, x)
            for method in methods:
                _check_method(built.module, method, x, place)
        except ValueError:
            raise
        except Exception as error:
            raise does_not_run(task.config.model, x, error) from error
    return place, built.new_head


def logits(output: Any) -> Tensor:
    """The class scores in what a model gives: a tensor, or an object with `logits`."""
    scores: Tensor = getattr(output, "logits", output)
    return scores


def batches(size: int, batch_size: int, generator: torch.Generator, at_least: int = 2) -> list[Tensor]:
    """Every image once, in random order: indices of [batch_size] each, the last batch what is left.

    Fewer than `at_least` left alone join the batch before: BatchNorm and a partner need two on each device.
    """
    split = list(torch.split(torch.randperm(size, generator=generator), batch_size))
    if len(split) > steps_an_epoch(size, batch_size, at_least):
        last = split.pop()
        split[-1] = torch.cat([split[-1], last])
    return split


def steps_an_epoch(size: int, batch_size: int, at_least: int = 2) -> int:
    """How many `batches` there are of so many images."""
    full, rest = divmod(size, batch_size)
    return max(1, full + (rest >= at_least))


def _check_outputs(model: nn.Module, x: Tensor, classes: int, name: str) -> None:
    for is_training in (False, True):
        output = output_of(model.train(is_training), x, name)
        if not isinstance(getattr(output, "logits", output), Tensor):
            raise ValueError(
                f"model {name!r} needs to give logits as a tensor, or an object with `logits`; got "
                f"{type(output).__name__}{' in train mode' if is_training else ''}."
            )
        shape = list(logits(output).shape)
        if shape != [len(x), classes]:
            raise ValueError(
                f"model {name!r} needs an output for each of the {classes} classes of the data, [{len(x)}, {classes}]; "
                f"got {shape}. Let make_model take num_classes."
            )


def _default_place_or_none(model: nn.Module, x: Tensor) -> str | None:
    try:
        return default_place(model, x)
    except ValueError:
        return None


def _check_method(model: nn.Module, method: Method, x: Tensor, default: str | None) -> None:
    if method.mixer is None:
        return
    # Two groups, for partners of the same or of another one.
    groups = [index % 2 for index in range(len(x))]
    try:
        site = attach(model, method.always(), x, seed=0, default=default)
        assert site is not None
        # Few images may all draw themselves.
        plans = filter(None, (site.draw(len(x), groups=groups) for _ in range(20)))
        draws = [draw for plan in plans for draw in plan.draws.values() if not draw.idle]
        # One by one, because a step may mix at one place only.
        for place in site.places if draws else ():
            with warnings.catch_warnings(), site.using(tm.Plan({place: draws[0]}, [(None, 1.0)], len(x))):
                # Of places that the method's word names it is said below, and of others in the run.
                warnings.simplefilter("ignore", tm.NoEffectWarning)
                model(x)
        site.detach()
        check_effect(model, method, site, draws, x)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"method {method.word!r}: {error}") from error
