"""Experiments for tests: what a request comes to, without trying the network."""

from collections.abc import Callable
from typing import Any

from torchmoments_lab.data.split import Data
from torchmoments_lab.experiment import Experiment
from torchmoments_lab.requests import Compare, Train
from torchmoments_lab.resolve import Objects, load_data, network_for, shared_settings
from torchmoments_lab.training.regime import filled


def experiment(
    request: Compare | Train = Compare(),  # noqa: B008
    *,
    data: Data | None = None,
    make_model: Callable[..., Any] | None = None,
    place: str | None = None,
) -> Experiment:
    data = data or load_data(request.data, request.judging)
    training = filled(
        request.training, data=request.data.data, images=len(data.train), fine_tunes=request.model.fine_tunes
    )
    network = network_for(request.model, data, None if make_model is None else Objects(make_model, None, None))
    shared = shared_settings(request.data, request.model, request.preprocessing, training, request.judging)
    return Experiment(data, network, request.preprocessing, training, request.judging.metric, (), place, shared)
