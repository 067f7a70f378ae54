"""The door: whatever can be wrong with a request is found here, before anything is written."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from torchmoments_lab.data import load
from torchmoments_lab.data.describe import facts, sentences
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.split import Data
from torchmoments_lab.decisions import decisions
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.methods import check_different, parse_methods
from torchmoments_lab.metrics import check_classes
from torchmoments_lab.models.built import Built, Input
from torchmoments_lab.models.network import Network
from torchmoments_lab.models.trial import Trial, try_network
from torchmoments_lab.requests import Setup
from torchmoments_lab.settings import ELSEWHERE, DataSettings, Judging, ModelSettings, Setting, TrainingSettings
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.preparation import filled as filled_preprocessing
from torchmoments_lab.training.regime import filled as filled_training
from torchmoments_lab.typed import Settings

Notice = Callable[[str], None]


def silent(_sentence: str) -> None:
    """A notice that goes nowhere."""


@dataclass(frozen=True)
class Objects:
    """A function that makes the model and two data sets, given from Python in place of names."""

    make_model: Callable[..., Any]
    train: Any
    test: Any


@dataclass(frozen=True)
class Resolved:
    """An experiment, and the one network that it was tried with."""

    experiment: Experiment
    trial: Trial


def resolve(
    request: Setup,
    judging: Judging,
    specs: Sequence[str],
    *,
    notice: Notice,
    objects: Objects | None = None,
    loaded: Data | None = None,
) -> Resolved:
    """Check a request, which has passed its own `check`, against data, network and machine, and fill in what it leaves
    open.

    Args:
        specs: the methods.
        notice: called with what the data are, and what was decided that the request does not say, if all is well.
        objects: in place of the names of data and model.
        loaded: the data of an earlier request for the same ones.

    Raises:
        ValueError: the request makes no sense, or does not fit.
    """
    methods = parse_methods(specs)
    remarks: list[str] = []
    if loaded is None:
        loaded = load_data(request.data, judging, objects)
        remarks += sentences(loaded, judging.evaluate)
    loaded.subset(request.training.train_size or len(loaded.train), seed=0)
    lacking = check_classes(judging.metric, loaded.test.labels.numpy(), loaded.classes, of=judging.evaluate)
    network = network_for(request.model, loaded, objects)
    cpu = torch.device("cpu")
    trial = try_network(network, methods, lambda wanted: Feed(loaded, wanted, request.preprocessing, cpu).example(4))
    place = trial.place
    check_different([replace(m, at=(place,)) if m.goes_after_stem and place else m for m in methods])
    seen = trial.initial is not None and trial.initial.fine_tunes
    model = replace(request.model, fine_tune=request.model.fine_tunes or seen)
    training = _filled_training(request, model, trial, len(loaded.train))
    preprocessing = filled_preprocessing(request.preprocessing, loaded, _wanted(trial.built, model))
    decided = decisions(model, methods, trial, training, preprocessing, of_pictures=loaded.are_pictures)
    for sentence in (*remarks, *lacking, *decided):
        notice(sentence)
    shared = shared_settings(request.data, model, preprocessing, training, judging)
    shared |= {**dict(facts(loaded)), "weights": _digest(model.weights), "place": place, **trial.facts}
    parameters = sum(parameter.numel() for parameter in trial.built.module.parameters())
    return Resolved(
        Experiment(loaded, network, preprocessing, training, judging.metric, tuple(methods), place, shared, parameters),
        trial,
    )


def _filled_training(request: Setup, model: ModelSettings, trial: Trial, images: int) -> TrainingSettings:
    given = request.training
    if not trial.head and (given.freeze_body or given.head_lr is not None):
        raise ValueError(
            f"{'freeze_body' if given.freeze_body else 'head_lr'} needs a classifier, a last layer with an output for "
            f"each class; none is found in model {model.model!r}. Leave it out."
        )
    if given.freeze_body and not model.fine_tune:
        raise ValueError(
            "freeze_body needs trained weights; the network starts from scratch. Write --pretrained, --weights FILE, "
            "or --fine-tune if a function of yours loads them."
        )
    training = filled_training(given, data=request.data.data, images=images, fine_tunes=model.fine_tune)
    training.check()
    return training


def load_data(data: DataSettings, judging: Judging, objects: Objects | None = None) -> Data:
    """The data of a name or of objects, with the images that are judged as their test images."""
    loaded = load(data) if objects is None else from_objects(objects.train, objects.test)
    return loaded if judging.evaluate == "test" else loaded.without_test()


def network_for(model: ModelSettings, data: Data, objects: Objects | None = None) -> Network:
    """The network for some data.

    Raises:
        ValueError: it is `small`, and the data are no images [C, H, W].
    """
    shape = data.shape
    if model.model == "small" and shape is not None and len(shape) != 3:
        repair = "images[:, None] if they are grey" if len(shape) == 2 else "--model your.module:make_model"
        raise ValueError(f"model 'small' needs images [C, H, W]; those of the data are {list(shape)}. Write {repair}.")
    channels = shape[0] if shape is not None and len(shape) > 1 else None
    return Network(model, len(data.classes), channels, None if objects is None else objects.make_model)


def shared_settings(*groups: Settings) -> dict[str, Setting]:
    """The settings that runs of one folder have in common, of all groups."""
    values = {name: value for group in groups for name, value in group.values().items()}
    # Lists, as JSON has them.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in ELSEWHERE
    }


def _wanted(built: Built, model: ModelSettings) -> Input:
    """The images that a network takes; timm's networks say what they were trained with, also those of a user's
    function."""
    config = getattr(built.module, "pretrained_cfg", None) or {}
    if not model.fine_tune or built.input.mean is not None or not {"mean", "std"} <= set(config):
        return built.input
    return replace(built.input, mean=tuple(config["mean"]), std=tuple(config["std"]))


def _digest(weights: Path | None) -> str | None:
    """Name of the weights' file and the beginning of its SHA-256."""
    if weights is None:
        return None
    with weights.open("rb") as file:
        return f"{weights.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"
