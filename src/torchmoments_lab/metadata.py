"""What a file of weights says of its network: enough to build it again, and to give it images."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from torchmoments_lab.experiment import Experiment
from torchmoments_lab.machine import version_of
from torchmoments_lab.methods import Method
from torchmoments_lab.models.weights import read_metadata
from torchmoments_lab.training.preparation import Preparation
from torchmoments_lab.typed import Settings, one_line

# Of the entry that is ours in the metadata of a safetensors file.
_KEY = "torchmoments"


@dataclass(frozen=True)
class Metadata(Settings):
    """Of the network of one run.

    Args:
        model, width, image_size: the settings that name the network.
        classes: their names, in the order of the outputs.
        preparation: how an image becomes the input.
        precision: of the test.
        method, place, seed: of the training; the place is None if nothing is mixed, or at the places of its source.
        metric, error: of the test images, in percent.
        version: of torchmoments.
    """

    model: str
    width: int
    image_size: int | None
    classes: tuple[str, ...]
    preparation: Preparation
    precision: str
    method: str
    place: str | None
    seed: int
    metric: str
    error: float
    version: str

    @classmethod
    def of(cls, experiment: Experiment, method: Method, seed: int, preparation: Preparation, error: float) -> Self:
        """That of a run which has ended."""
        network = experiment.network.settings
        default = experiment.place if method.goes_after_stem and method.changes_features else None
        return cls(
            model=network.model,
            width=network.width,
            image_size=network.image_size,
            classes=experiment.data.classes,
            preparation=preparation,
            precision=experiment.training.precision,
            method=method.spec,
            place=default if method.at is None else "+".join(method.at),
            seed=experiment.random_seed(seed),
            metric=experiment.metric,
            error=error,
            version=version_of("torchmoments"),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """What a file says.

        Raises:
            ValueError: it says nothing, or what another version of torchmoments wrote.
        """
        text = read_metadata(path).get(_KEY)
        if text is None:
            raise ValueError(
                f"weights needs a file that says what its network is; '{path}' does not. Write the weights.safetensors "
                "of a `torchmoments train`, or of a `torchmoments compare --keep-weights`."
            )
        try:
            record = json.loads(text)
            return cls(**record | {"preparation": Preparation(**record["preparation"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"weights needs a file that this version of torchmoments can read; got '{path}' "
                f"({one_line(error, 200)}). Use the version that wrote it."
            ) from error

    def entries(self) -> Mapping[str, str]:
        """As safetensors keeps it, strings by name."""
        return {_KEY: self.as_json()}

    def as_json(self, indent: int | None = None) -> str:
        return json.dumps(asdict(self), indent=indent, allow_nan=False)
