"""What is going to be trained, and about how long it takes: said before anything is."""

import heapq
from collections.abc import Callable, Sequence

from torchmoments_lab.durations import about
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.jobs import Executor
from torchmoments_lab.runs import Run
from torchmoments_lab.training.schedule import steps_an_epoch
from torchmoments_lab.training.timing import Cost, cost_of
from torchmoments_lab.typed import counted

DRY = "That was a dry run: nothing was trained or written."
_SECONDS_OF_TIMING = 2.0


def forecast(runs: Sequence[Run], missing: Sequence[Run], executor: Executor, kind: str) -> str:
    """The sentences.

    Args:
        runs: all of them.
        missing: those that are not complete yet, in the order of training.
        executor: trains them.
        kind: what there are several of for each seed: "method".
    """
    seeds = len({run.seed for run in runs})
    each = f"{counted(len(runs) // seeds, kind)} x {counted(seeds, 'seed')}"
    whole = f"{counted(len(runs), 'run')} ({each})"
    if not missing:
        return f"{whole}, all complete already."
    complete = len(runs) - len(missing)
    if complete:
        whole += f", {complete} of them complete already"
    at_a_time = executor.at_once(len(missing))
    where = f"on {executor.where(at_a_time)}, {at_a_time} at a time."
    seconds = _seconds(missing, at_a_time) if executor.takes_as_long_as_here(at_a_time) else None
    others = f"The other {len(missing)} take" if complete else "They take"
    time = "" if seconds is None else f" {others} {about(seconds)}."
    return f"{whole}: {described([run.experiment for run in missing])}; {where}{time}"


def described(experiments: Sequence[Experiment]) -> str:
    """What is trained, and how long: small, 77,754 parameters, 200 training images, 80 epochs of 4 steps."""

    def span(of: Callable[[Experiment], int], thing: str) -> str:
        numbers = sorted({of(experiment) for experiment in experiments})
        first = "" if len(numbers) == 1 else f"{numbers[0]:,} to "
        return first + counted(numbers[-1], thing)

    models = " and ".join(dict.fromkeys(experiment.network.settings.model for experiment in experiments))
    return (
        f"{models}, {span(lambda e: e.parameters, 'parameter')}, {span(lambda e: e.train_size, 'training image')}, "
        f"{span(lambda e: e.epochs, 'epoch')} of {span(_steps, 'step')}"
    )


def seconds_of(experiment: Experiment, cost: Cost, epochs: int | None = None) -> float:
    """How long a run takes, or so many epochs of it and the test."""
    steps = _steps(experiment) * (experiment.epochs if epochs is None else epochs)
    return steps * cost.step + len(experiment.data.test) * cost.image


def _steps(experiment: Experiment) -> int:
    return steps_an_epoch(experiment.train_size, experiment.training.batch_size)


def _seconds(missing: Sequence[Run], at_a_time: int) -> float | None:
    """About how long these runs take; None if that cannot be told."""
    references = {_work(run.experiment): run.experiment for run in missing}
    costs = {}
    for work, experiment in references.items():
        seconds = _SECONDS_OF_TIMING / len(references)
        cost = cost_of(experiment, experiment.methods[0], seconds=seconds, at_a_time=at_a_time)
        if cost is None:
            return None
        costs[work] = cost
    # Each run goes to the worker that is free first.
    ends = [0.0] * at_a_time
    for run in missing:
        heapq.heapreplace(ends, ends[0] + seconds_of(run.experiment, costs[_work(run.experiment)]))
    return max(ends)


def _work(experiment: Experiment) -> tuple[object, ...]:
    """What the time of a step depends on."""
    training = experiment.training
    batch = min(training.batch_size, experiment.train_size)
    return experiment.network, experiment.preprocessing, batch, training.optimizer, training.precision, training.ema
