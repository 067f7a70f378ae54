"""Everything that can be wrong with a request is found here, before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data import load
from torchmoments.lab.data.split import Data
from torchmoments.lab.methods import check_different, parse_methods
from torchmoments.lab.training.device import check_device
from torchmoments.lab.training.task import Task, judged_on
from torchmoments.lab.training.train import check

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
        make_model, train, test: objects in place of the names in `config`, see `torchmoments.lab.compare`.
        notice: is told what was decided that the request does not say.
        data: of an earlier task with the same `config.data`; read, and checked, where None.

    Raises:
        ValueError: the request makes no sense, or does not fit the data, the model or this machine.
    """
    config.check()
    methods = parse_methods(words)
    check_device(config, devices)
    if data is None:
        data = _load(config, train, test)
    task = Task(config.filled(len(data.train)), make_model, data)
    task.config.check()
    data.subset(task.config.train_size or 0, seed=0)
    place, new_head = check(task, methods, data)
    check_different([replace(m, at=(place,)) if m.goes_after_stem and place else m for m in methods])
    if any(method.goes_after_stem and method.changes_features for method in methods):
        notice(f"Features are mixed after '{place}' of {config.model}; another place: moex:at=NAME.")
    if new_head is not None:
        notice(f"{new_head}.")
    facts = [("images", data.describe()), ("weights", task.digest_of_weights()), ("place", place)]
    network = task.digest_of_network(data)
    if network is not None:
        facts.append(("network", network))
    return replace(task, facts=tuple(facts))


def _load(config: TrainConfig, train: Any, test: Any) -> Data:
    if train is not None:
        from torchmoments.lab.data.own import from_objects

        return judged_on(from_objects(train, test), config)
    data = judged_on(load(config), config)
    if config.data.startswith("folder:"):
        from torchmoments.lab.data.folder import check_files

        check_files(data)
    return data
