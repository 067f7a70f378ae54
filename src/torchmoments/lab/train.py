"""One run: train one network with one method and one seed.

Runs of one seed are paired: the same training images, initial weights, order of the batches and dropout, whatever the
method. Each has its own stream of random numbers, and the site's is separate from all of them.
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm
from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data.split import Data, Split
from torchmoments.lab.methods import Method
from torchmoments.lab.models import SmallResNet


@dataclass(frozen=True)
class Epoch:
    """Means over the images of one epoch, in train mode. Loss and accuracy (percent) count mixed labels by weight."""

    epoch: int
    loss: float
    accuracy: float
    lr: float


@dataclass(frozen=True)
class Result:
    """What one run gives: its epochs, the classes predicted for the test images [N] int64, seconds of training."""

    epochs: list[dict[str, float]]
    predicted: np.ndarray
    seconds: float


def train(config: TrainConfig, method: Method, seed: int, data: Data) -> Result:
    """Train one network on one thread, and predict the test images once, after the last epoch.

    The caller's random numbers and number of threads are as before when it returns.

    Raises:
        FloatingPointError: the loss is not finite; the sentence says at which step.
    """
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    index = data.subset(config.train_size or len(data.train), seed)
    pool = Split(data.train.images[index], data.train.labels[index])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights_seed)
            model = build_model(config, data)
            start = time.perf_counter()
            epochs = _fit(config, method, seed, model, data, pool, torch.Generator().manual_seed(order_seed))
            seconds = time.perf_counter() - start
            return Result(epochs, predict(model, data), seconds)
    finally:
        torch.set_num_threads(threads)


def build_model(config: TrainConfig, data: Data) -> nn.Module:
    """The network; its initial weights come from torch's global random numbers."""
    model = SmallResNet(data.train.images.shape[1], len(data.classes), config.width)
    # The faster layout for small convolutions on a CPU.
    return model.to(memory_format=torch.channels_last)


def check_method(config: TrainConfig, method: Method, data: Data) -> None:
    """One mixed forward of a few images for each place.

    Raises:
        ValueError: the method cannot be attached to this model, or cannot mix the features there.
    """
    if method.mixer is None:
        return
    with torch.random.fork_rng(devices=[]):
        model = build_model(config, data)
    always = replace(method.mixer, p=1.0)
    try:
        everywhere = tm.attach(model, always, at=method.at)
        everywhere.detach()
        # One by one, because a step mixes at one place only.
        for place in everywhere.places:
            site = tm.attach(model, always, at=place)
            with site.mixing(4):
                model(normalize(data, data.train.images[:4]))
            site.detach()
    except ValueError as error:
        raise ValueError(f"method {method.word!r}: {error}") from error


def batches(size: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Every image once, in random order: indices of [batch_size] each, the last batch what is left.

    One image left alone joins the batch before it: BatchNorm and a partner need two.
    """
    split = list(torch.split(torch.randperm(size, generator=generator), batch_size))
    if len(split) > 1 and len(split[-1]) == 1:
        last = split.pop()
        split[-1] = torch.cat([split[-1], last])
    return split


def normalize(data: Data, pixels: Tensor) -> Tensor:
    """Pixels [B, C, H, W] as the network gets them: float32, mean and spread by the data set's constants."""
    mean, std = (data.peak * torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    return (pixels.float() - mean) / std


def predict(model: nn.Module, data: Data) -> np.ndarray:
    """Classes [N] int64 of the test images, in eval mode."""
    model.eval()
    with torch.inference_mode():
        batches = torch.split(data.test.images, 500)
        return np.concatenate([model(normalize(data, batch)).argmax(1).numpy() for batch in batches])


def _fit(
    config: TrainConfig,
    method: Method,
    seed: int,
    model: nn.Module,
    data: Data,
    pool: Split,
    order: torch.Generator,
) -> list[dict[str, float]]:
    site = None if method.mixer is None else tm.attach(model, method.mixer, at=method.at, seed=seed)
    optimizer = torch.optim.SGD(
        model.parameters(), config.lr, momentum=0.9, nesterov=True, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    epochs = []
    step = 0
    model.train()
    for epoch in range(1, config.epochs + 1):
        loss_sum = accuracy_sum = 0.0
        for index in batches(len(pool), config.batch_size, order):
            step += 1
            x, y = normalize(data, pool.images[index]), pool.labels[index]
            with nullcontext() if site is None else site.mixing(len(x)) as plan:
                output = model(x)
                loss = tm.mixed_loss(F.cross_entropy, output, y, plan)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss needs to stay finite; it became {loss.item()} at step {step} "
                    f"(epoch {epoch} of {config.epochs}). Try a smaller learning rate than {config.lr:g}."
                )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            loss_sum += loss.item() * len(x)
            accuracy_sum += float(tm.mixed_accuracy(output.detach(), y, plan)) * len(x)
        lr = float(schedule.get_last_lr()[0])
        epochs.append(asdict(Epoch(epoch, loss_sum / len(pool), 100 * accuracy_sum / len(pool), lr)))
        schedule.step()
    return epochs
