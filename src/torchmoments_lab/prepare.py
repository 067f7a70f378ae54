"""Everything that can be wrong with a request is found here, before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torchmoments_lab.config import Setting, TrainConfig
from torchmoments_lab.data import load
from torchmoments_lab.data.describe import facts, sentences
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.split import Data
from torchmoments_lab.methods import check_different, parse_methods
from torchmoments_lab.metrics import check_classes
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.initial import facts_of_network
from torchmoments_lab.training.task import Task, judged_on
from torchmoments_lab.training.train import check

Notice = Callable[[str], None]


def silent(_sentence: str) -> None:
    """A notice that goes nowhere."""


def prepare(
    config: TrainConfig,
    words: Sequence[str],
    make_model: Callable[..., Any] | None = None,
    train: Any = None,
    test: Any = None,
    notice: Notice = silent,
    *,
    devices: int = 1,
    data: Data | None = None,
) -> Task:
    """What is trained, with a value for each setting and the facts that go with them, and the data in it.

    Args:
        words: the methods.
        make_model, train, test: objects in place of the names in `config`, see `torchmoments_lab.compare`.
        notice: is told what the data are, and what was decided that the request does not say, if all is well.
        data: of an earlier task with the same `config.data`; read, checked and told of, where None.

    Raises:
        ValueError: the request makes no sense, or does not fit the data, the model or this machine.
    """
    config.check()
    methods = parse_methods(words)
    check_device(config, devices)
    said: list[str] = []
    if data is None:
        data = judged_on(load(config) if train is None else from_objects(train, test), config)
        said += sentences(data, config.evaluate)
    task = Task(config.filled(len(data.train)), make_model, data)
    task.config.check()
    data.subset(task.config.train_size or 0, seed=0)
    lacking = check_classes(config.metric, data.test.labels.numpy(), data.classes, of=config.evaluate)
    place, new_head = check(task, methods, data)
    check_different([replace(m, at=(place,)) if m.goes_after_stem and place else m for m in methods])
    mixes_there = any(method.goes_after_stem and method.changes_features for method in methods)
    of_network = facts_of_network(task, data)
    said += filter(
        None,
        [
            lacking,
            f"Features are mixed after '{place}' of {config.model}; another place: moex:at=NAME."
            if mixes_there
            else None,
            new_head and f"{new_head}.",
            _of_weights(of_network.get("new_weights")),
        ],
    )
    for sentence in said:
        notice(sentence)
    of_model = {"weights": task.digest_of_weights(), "place": place, **of_network}
    return replace(task, facts=(*facts(data), *of_model.items()))


def _of_weights(new: Setting) -> str | None:
    if new is None:
        return None
    which = "No initial weights are" if new == "none" else f"Of the initial weights only those of {new} are"
    return f"{which} new for each seed."
