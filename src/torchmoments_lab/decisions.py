"""What was decided that a request does not say, in sentences."""

import math
from collections.abc import Sequence

from torchmoments_lab.methods import Method
from torchmoments_lab.models.trial import Trial
from torchmoments_lab.settings import ModelSettings, Preprocessing, TrainingSettings


def decisions(
    model: ModelSettings,
    methods: Sequence[Method],
    trial: Trial,
    training: TrainingSettings,
    preprocessing: Preprocessing,
    *,
    of_pictures: bool,
) -> list[str]:
    """The sentences; settings have a value for everything that was left open."""
    pictures = _pictures(trial, preprocessing) if of_pictures else []
    is_said = trial.padding is not None and any(of.changes_features for of in methods)
    padding = [f"Padding is {trial.padding}."] if is_said else []
    return [*_place(model, methods, trial), *padding, *_start(model, trial, training), *pictures]


def _place(model: ModelSettings, methods: Sequence[Method], trial: Trial) -> list[str]:
    if not any(method.goes_after_stem and method.changes_features for method in methods):
        return []
    return [f"Features are mixed after '{trial.place}' of {model.model}; another place: moex:at=NAME."]


def _start(model: ModelSettings, trial: Trial, training: TrainingSettings) -> list[str]:
    found = []
    if trial.built.new_head:
        head = " and ".join(trial.built.new_head)
        found.append(f"{head} is new: the weights have another classifier. It starts near zero.")
    new = trial.facts.get("new_weights")
    if new is not None:
        which = "No initial weights are" if new == "none" else f"Of the initial weights only those of {new} are"
        found.append(f"{which} new for each seed.")
    if model.fine_tune:
        rate = f"lr {training.lr:g}" if training.lr is not None else f"head_lr {training.head_lr:g}"
        found.append(
            "It starts from trained weights, so what is left open of the training is that of fine-tuning: "
            f"{training.optimizer}, {rate}."
        )
    elif new == "none":
        found.append("If these are trained weights, write --fine-tune.")
    knows_nothing = math.log(trial.classes)
    is_new = trial.initial is not None and set(trial.head) & set(trial.initial.new)
    if model.fine_tune and is_new and trial.first_loss > 0.5 + knows_nothing:
        found.append(
            f"The first loss is about {trial.first_loss:.1f}, where {knows_nothing:.1f} is that of no knowledge: the "
            f"classifier of {model.model!r} starts too large, and spoils what the network learned. Let make_model give "
            f"it small weights: torch.nn.init.normal_(model.{trial.head[-1]}.weight, std=0.01)."
        )
    return found


def _pictures(trial: Trial, preprocessing: Preprocessing) -> list[str]:
    """What the network gets of pictures, which come in all sizes."""
    size = " x ".join(map(str, trial.images.shape[1:]))
    mean, std = (_numbers(values) for values in (preprocessing.mean, preprocessing.std))
    augmented = "augmented" if preprocessing.augment else "not augmented"
    return [f"The network gets pictures as {size}, minus {mean}, divided by {std}; {augmented}."]


def _numbers(values: Sequence[float]) -> str:
    """0.5, or 0.485/0.456/0.406 of three channels."""
    return "/".join(f"{value:.3g}" for value in (values[:1] if len(set(values)) == 1 else values))
