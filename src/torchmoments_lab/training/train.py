"""One run: train one network with one method and one seed.

Runs of one seed are paired: the same training images, initial weights, order of the batches, augmentation and dropout,
whatever the method. Each has its own stream of random numbers, and the site's is separate from all of them.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.inputs import InputMixing
from torchmoments_lab.methods import Method
from torchmoments_lab.models.attach import attach
from torchmoments_lab.models.head import head_of
from torchmoments_lab.models.network import logits
from torchmoments_lab.models.padding import Masks, padding
from torchmoments_lab.process import Terminated, ending_after_a_step
from torchmoments_lab.random_numbers import input_stream, seeds_of
from torchmoments_lab.training.averaging import averaged
from torchmoments_lab.training.checkpoint import Checkpoint
from torchmoments_lab.training.criterion import Criterion, balancing_weights
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.epochs import Epoch, EpochLog
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.optimizer import freeze_statistics, make_optimizer
from torchmoments_lab.training.preparation import Preparation
from torchmoments_lab.training.ranks import any_rank, sum_over_ranks
from torchmoments_lab.training.schedule import batches, make_schedule, steps_an_epoch
from torchmoments_lab.training.state import Begun, set_state, state_of
from torchmoments_lab.training.tally import NotFiniteError, Tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Result:
    """The outcome of one run.

    Args:
        epochs: see `epochs.Epoch`.
        scores: probabilities of the classes for the test images [N, K] float32. None on other ranks than the first.
        seconds: of training; the first epoch, in which things are set up, counts as much as the others do on average.
        weights: the trained state_dict, on the CPU.
        preparation: how images become the input of the network; None if no network was trained.
    """

    epochs: list[Epoch]
    scores: np.ndarray | None
    seconds: float
    weights: dict[str, Tensor]
    preparation: Preparation | None = None


def train(
    experiment: Experiment,
    method: Method,
    seed: int,
    *,
    fabric: "Fabric | None" = None,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
    log: EpochLog | None = None,
) -> Result:
    """Train one network, and predict the test images once, after the last epoch.

    The caller's random numbers and number of threads are as before when it returns.

    Args:
        fabric: one device if None. With several, each trains on its share of each batch.
        checkpoint: the state is saved there after an epoch, and after a step if a signal ends the process; it is loaded
            from there first.
        log: gets each epoch, in the first process.

    Raises:
        FloatingPointError: the loss is not finite; the sentence says at which step.
    """
    if fabric is None:
        fabric = make_fabric(experiment.training)
    with own_random_numbers(fabric.device, threads):
        training = Training(experiment, method, seed, fabric)
        if checkpoint is not None:
            training.load(checkpoint)
        if fabric.global_rank > 0:
            log = None
        if log is not None:
            log.begin(training.epochs)
        with ending_after_a_step() as has_come:
            is_stopping = any_rank(fabric, has_come)
            while training.epoch < experiment.epochs:
                is_whole = training.run_epoch(is_stopping)
                if checkpoint is not None and checkpoint.is_due():
                    training.save(checkpoint)
                if is_whole and log is not None:
                    log.add(training.epochs[-1])
                # The epoch may end with the step that was waited for.
                if not is_whole or is_stopping():
                    # In a rank that no signal has come to.
                    raise Terminated(signal.SIGTERM)
        return training.result()


class Step(NamedTuple):
    """Scalars, means over the images of a batch; and whether some were mixed."""

    loss: Tensor
    accuracy: Tensor
    is_mixed: bool


def step(
    model: Any,
    criterion: Criterion,
    site: tm.Site | None,
    x: Tensor,
    y: Tensor,
    groups: Tensor | None = None,
    mask: Masks | None = None,
) -> Step:
    """One forward of a batch, with features mixed if the method says so.

    Args:
        y: class indices, or soft targets of mixed images.
        groups: the domains of the images, or their classes, for partners of the same or of another one.
        mask: of real positions, where there is padding.
    """
    with nullcontext() if site is None else site.mixing(len(x), groups=groups, mask=mask) as plan:
        output = logits(model(x))
    is_mixed = plan is not None and not all(draw.idle for draw in plan.draws.values())
    return Step(tm.mixed_loss(criterion, output, y, plan), tm.mixed_accuracy(output.detach(), y, plan), is_mixed)


class Training:
    """The state of one run between two epochs, or two steps."""

    def __init__(self, experiment: Experiment, method: Method, seed: int, fabric: "Fabric") -> None:
        data, settings = experiment.data, experiment.training
        seed = experiment.random_seed(seed)
        seeds = seeds_of(seed)
        built = experiment.network.initial(seed)
        self.experiment = experiment
        self.settings = settings
        self.method = method
        self.fabric = fabric
        self.feed = Feed(data, built.input, experiment.preprocessing, fabric.device)
        self.images = self.feed.subset(data.subset(experiment.train_size, seed))
        self.order = torch.Generator().manual_seed(seeds.order)
        self.augment = torch.Generator().manual_seed(seeds.augment)
        self.inputs = input_stream(seed, fabric.global_rank)
        self.module = fabric.to_device(built.module)
        self.average = None if settings.ema is None else averaged(self.module, settings.ema)
        self.site = attach(self.module, method, self.feed.example(2), seed, experiment.place)
        self.head = head_of(self.module, len(data.classes))
        optimizer = make_optimizer(self.module, self.head, settings)
        weights = balancing_weights(self.images.labels, len(data.classes))
        of_loss = weights.to(fabric.device) if settings.balance == "weights" else None
        self.criterion = Criterion(settings.label_smoothing, of_loss)
        # Of each image, to be drawn.
        self.chances = weights[self.images.labels.cpu()] if settings.balance == "sampling" else len(self.images)
        self.least = 2 * fabric.world_size
        self.steps_an_epoch = steps_an_epoch(len(self.images), settings.batch_size, self.least)
        self.schedule = make_schedule(settings, experiment.epochs, self.steps_an_epoch, optimizer)
        compiled: Any = torch.compile(self.module) if settings.compile else self.module
        self.model, self.optimizer = fabric.setup(compiled, optimizer)
        self.epoch = 0
        self.steps = 0
        self.seconds: list[float] = []
        self.epochs: list[Epoch] = []
        self.begun: Begun | None = None
        # Last, so that it does not matter what was drawn until now. The ranks have different images, and should have
        # different dropout.
        torch.manual_seed(seeds.network + fabric.global_rank)

    def run_epoch(self, is_stopping: Callable[[], bool] = lambda: False) -> bool:
        """Train an epoch, or what is left of the one that has begun.

        Args:
            is_stopping: called after each step.

        Returns:
            Whether the epoch is whole; if not, it was stopped after a step, though not after its last one.
        """
        start = time.perf_counter()
        if self.begun is None:
            lr = float(self.schedule.get_last_lr()[0])
            self.begun = Begun(lr, self.order.get_state(), self.augment.get_state())
        tally = self.begun.tally
        try:
            is_stopped = any(is_stopping() for _ in self.steps_of_epoch(tally, tally.steps))
            tally.read()
        except NotFiniteError as bad:
            raise FloatingPointError(
                f"the loss needs to stay finite; it became {bad.value} at step {self.steps + bad.step} (epoch "
                f"{self.epoch + 1} of {self.experiment.epochs}). {self._repair()}"
            ) from None
        if is_stopped and tally.steps < self.steps_an_epoch:
            self.begun.seconds += time.perf_counter() - start
            return False
        loss, accuracy, mixed = sum_over_ranks(self.fabric, [tally.loss, tally.accuracy, tally.mixed])
        images, steps = len(self.images), tally.steps * self.fabric.world_size
        self.epoch += 1
        self.steps += tally.steps
        mean = Epoch(self.epoch, loss / images, 100 * accuracy / images, 100 * mixed / steps, self.begun.lr)
        self.epochs.append(mean)
        if self.settings.schedule_every == "epoch":
            self.schedule.step()
        self.seconds.append(self.begun.seconds + time.perf_counter() - start)
        self.begun = None
        return True

    def steps_of_epoch(self, tally: Tally, done: int = 0) -> Iterator[None]:
        """Train an epoch but for the steps that are done already, and stop after each step."""
        fabric, classes = self.fabric, len(self.experiment.data.classes)
        self.model.train()
        if self.settings.freeze_body:
            freeze_statistics(self.module, self.head)
        split = batches(self.chances, self.settings.batch_size, self.order, at_least=self.least)
        feed = self.feed.training(self.images, split, self.augment, fabric.global_rank, fabric.world_size, done)
        for index, (x, y) in zip(split[done:], feed, strict=True):
            groups = self._groups(index, y) if self.method.needs_groups else None
            if self.method.inputs is not None:
                x, y = self.method.inputs(x, y, classes, self.inputs)
            mask = None
            if self.site is not None and self.method.changes_features:
                mask = padding(self.module, x, self.site.places)
            loss, accuracy, is_mixed = step(self.model, self.criterion, self.site, x, y, groups, mask)
            is_mixed |= isinstance(self.method.inputs, InputMixing) and y.is_floating_point()
            self.optimizer.zero_grad()
            # DDP averages over the ranks, whose shares of a batch may differ by one image.
            share = len(x) * fabric.world_size / len(index)
            fabric.backward(loss if share == 1 else loss * share)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.module)
            if self.settings.schedule_every == "step":
                self.schedule.step()
            tally.add(loss, accuracy, len(x), is_mixed)
            yield

    def _groups(self, index: Tensor, y: Tensor) -> Tensor:
        """The domains of this rank's share of a batch; their classes if there are no domains."""
        domains, fabric = self.images.domains, self.fabric
        return y if domains is None else domains[torch.tensor_split(index, fabric.world_size)[fabric.global_rank]]

    def result(self) -> Result:
        scores = self.predict() if self.fabric.global_rank == 0 else None
        if scores is not None and not np.isfinite(scores).all():
            raise FloatingPointError(
                f"the scores of the test images need to be finite; after the last step some are not. {self._repair()}"
            )
        weights = {name: tensor.detach().cpu() for name, tensor in self._final().state_dict().items()}
        return Result(self.epochs, scores, fair_seconds(self.seconds), weights, self.feed.preparation)

    def _repair(self) -> str:
        return f"Try a smaller learning rate than {self.settings.lr or self.settings.head_lr:g}."

    def _final(self) -> nn.Module:
        """The network that is tested and kept."""
        return self.module if self.average is None else self.average.module

    def predict(self, batches: int | None = None) -> np.ndarray:
        """Probabilities [N, K] float32 of the test images in eval mode, or of the first batches of them."""
        network = self._final().eval()
        with torch.inference_mode(), self.fabric.autocast():
            scores = [logits(network(x)).float().softmax(1).cpu() for x in islice(self.feed.test(), batches)]
        return torch.cat(scores).numpy()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the state after an epoch or a step, that of all ranks."""
        state = state_of(self)
        if self.fabric.global_rank == 0:
            checkpoint.write(state)
        self.fabric.barrier()

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint, if there is one.

        Raises:
            ValueError: it is damaged, or of another run.
        """
        state = checkpoint.read()
        if state is not None:
            try:
                set_state(self, state)
            except torch.OutOfMemoryError:
                raise
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                # Something is missing, or of another type or shape.
                raise checkpoint.damaged() from error


def fair_seconds(epochs: Sequence[float]) -> float:
    """The seconds of all epochs, with the mean of the others for the first, which pays for what is set up once."""
    first, *others = epochs
    return sum(others) * len(epochs) / len(others) if others else first
