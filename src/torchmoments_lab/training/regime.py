"""What a request leaves open of the training, decided by where it starts: from scratch, or from trained weights.

The values were chosen on validation images of three data sets, see docs/fine-tuning.md.
"""

import math
from dataclasses import replace
from typing import NamedTuple

from torchmoments_lab.settings import TrainingSettings
from torchmoments_lab.settings.training import Optimizer
from torchmoments_lab.training.schedule import steps_an_epoch


class _Rates(NamedTuple):
    lr: float
    weight_decay: float


_FROM_SCRATCH: dict[Optimizer, _Rates] = {"sgd": _Rates(0.1, 5e-4), "adamw": _Rates(0.003, 0.05)}
_FINE_TUNING: dict[Optimizer, _Rates] = {"sgd": _Rates(0.01, 5e-4), "adamw": _Rates(0.001, 0.05)}
_EPOCHS = {"digits": 80}
_USUAL_EPOCHS, _FINE_TUNING_EPOCHS = 60, 20
_FINE_TUNING_STEPS = 300


def filled(training: TrainingSettings, *, data: str, images: int, fine_tunes: bool) -> TrainingSettings:
    """The settings with a value for each None that has a default.

    Args:
        data: name of the data set.
        images: in its training set.
    """
    optimizer = training.optimizer or ("adamw" if fine_tunes else "sgd")
    rates = (_FINE_TUNING if fine_tunes else _FROM_SCRATCH)[optimizer]
    lr = training.lr or rates.lr
    train_size = training.train_size or (200 if data == "digits" else images)
    epochs = _epochs(training, train_size, data, fine_tunes)
    warmup = training.warmup_epochs
    return replace(
        training,
        train_size=train_size,
        epochs=epochs,
        optimizer=optimizer,
        lr=None if training.freeze_body else lr,
        head_lr=training.head_lr or (lr if training.freeze_body else None),
        weight_decay=rates.weight_decay if training.weight_decay is None else training.weight_decay,
        warmup_epochs=(epochs // 10 if fine_tunes else 0) if warmup is None else warmup,
        schedule_every=training.schedule_every or ("step" if fine_tunes else "epoch"),
    )


def _epochs(training: TrainingSettings, train_size: int, data: str, fine_tunes: bool) -> int:
    usual = _FINE_TUNING_EPOCHS if fine_tunes else _EPOCHS.get(data, _USUAL_EPOCHS)
    least = training.min_steps or (_FINE_TUNING_STEPS if fine_tunes and training.epochs is None else 1)
    steps = steps_an_epoch(train_size, training.batch_size)
    return max(training.epochs or usual, math.ceil(least / steps))
