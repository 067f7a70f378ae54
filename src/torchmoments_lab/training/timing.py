"""How long a run takes, by a few steps of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count, islice
from typing import NamedTuple

import torch

from torchmoments_lab.experiment import Experiment
from torchmoments_lab.methods import Method
from torchmoments_lab.process import exits_are_errors, give_memory_back, signals_held_back
from torchmoments_lab.random_numbers import global_random_numbers
from torchmoments_lab.training.device import make_fabric, own_random_numbers
from torchmoments_lab.training.tally import Tally
from torchmoments_lab.training.train import Training

MOST_STEPS = 20
# A forward and a backward of an image take about so many times as long as a forward.
_STEP_IN_FORWARDS = 3


class Cost(NamedTuple):
    """Seconds of a training step, and of a test image."""

    step: float
    image: float


def cost_of(
    experiment: Experiment, method: Method, *, seconds: float = 2.0, threads: int = 1, at_a_time: int = 1
) -> Cost | None:
    """Measure with a network of its own, one step first that does not count; what it costs if nothing goes wrong.

    No random numbers change. Compiling is left out: a step counts as it is without.

    Args:
        seconds: no step begins later, so that a slow one is the only one.
        at_a_time: how many will train side by side; as many cores are kept busy, which may not be there or be slower
            together.
    """
    training = replace(experiment.training, compile=False)
    try:
        with global_random_numbers(0), exits_are_errors():
            return _cost(replace(experiment, training=training), method, seconds, threads, at_a_time)
    except Exception:
        # Whatever it is, the runs will say it, or be spared it.
        return None
    finally:
        # This process may have nothing more to train.
        give_memory_back()


@contextmanager
def _busy(cores: int) -> Iterator[None]:
    """So many other cores work while the block runs."""
    is_over = threading.Event()

    def work() -> None:
        matrix = torch.zeros(256, 256)
        while not is_over.is_set():
            torch.mm(matrix, matrix)

    # Signals are for the main thread.
    others = [threading.Thread(target=work, daemon=True) for _ in range(cores)]
    with signals_held_back():
        for other in others:
            other.start()
    try:
        yield
    finally:
        is_over.set()
        for other in others:
            other.join()


def _cost(experiment: Experiment, method: Method, seconds: float, threads: int, at_a_time: int) -> Cost:
    fabric = make_fabric(experiment.training)
    with own_random_numbers(fabric.device, threads):
        training = Training(experiment, method, 0, fabric)
        with _busy(at_a_time - 1):
            cost = _measured(training, seconds)
    if fabric.device.type == "cuda":
        del training
        torch.cuda.empty_cache()
    return cost


def _measured(training: Training, seconds: float) -> Cost:
    end = time.perf_counter() + seconds
    tally = Tally()
    steps = chain.from_iterable(training.steps_of_epoch(tally) for _ in count())
    step = _seconds_a_step(steps, tally, 1)
    if time.perf_counter() >= end:
        images = min(training.settings.batch_size, training.experiment.train_size)
        return Cost(step, step / images / _STEP_IN_FORWARDS)
    step = _seconds_a_step(steps, tally, min(MOST_STEPS, max(1, int((end - time.perf_counter()) / step))))
    image = _seconds_an_image(training)
    return Cost(step, _seconds_an_image(training) if time.perf_counter() < end else image)


def _seconds_a_step(steps: Iterator[None], tally: Tally, number: int) -> float:
    start = time.perf_counter()
    for _ in islice(steps, number):
        pass
    # It waits for the device.
    tally.read()
    return (time.perf_counter() - start) / number


def _seconds_an_image(training: Training) -> float:
    start = time.perf_counter()
    scores = training.predict(batches=1)
    return (time.perf_counter() - start) / len(scores)
