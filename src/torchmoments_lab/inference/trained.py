"""A trained network, built again from its file of weights alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from torchmoments_lab.metadata import Metadata
from torchmoments_lab.models.network import Network
from torchmoments_lab.models.weights import load_file
from torchmoments_lab.settings import ModelSettings, check_weights


@dataclass(frozen=True)
class Trained:
    """A network in eval mode, on the CPU, and what its file says of it."""

    module: nn.Module
    metadata: Metadata


def load_trained(path: Path, make_model: Callable[..., Any] | None = None) -> Trained:
    """Build the network that a file of weights is of.

    Args:
        path: weights.safetensors of a run.
        make_model: the function that made the network, if it was given from Python.

    Raises:
        ValueError: there is no such file, it does not say what the network is, the network cannot be made, or it is
            another one.
    """
    check_weights(path)
    metadata = Metadata.read(path)
    library, _, name = metadata.model.partition(":")
    if library == "objects" and make_model is None:
        raise ValueError(
            f"the network of '{path}' was made from Python, by {name}, and cannot be made by a name. In Python, write "
            f"torchmoments_lab.predict(weights, images, make_model={name}), or load the weights into your network: "
            "model.load_state_dict(safetensors.torch.load_file(weights))."
        )
    settings = ModelSettings(model=metadata.model, width=metadata.width, image_size=metadata.image_size)
    classes = len(metadata.classes)
    module = Network(settings, classes, metadata.preparation.channels, make_model).initial(seed=0).module
    new = load_file(module, path, classes)
    if new:
        raise ValueError(
            f"weights need to fit {type(module).__name__}; of '{path}' are those of another {' and '.join(new)}."
        )
    return Trained(module.eval(), metadata)
