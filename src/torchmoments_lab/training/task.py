"""What is trained on what: the settings, and the objects that were given from Python in place of names."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchmoments_lab.config import Setting, TrainConfig
from torchmoments_lab.data import load
from torchmoments_lab.data.split import Data
from torchmoments_lab.models import Built, build
from torchmoments_lab.training.seeds import global_random_numbers, seeds_of


@dataclass(frozen=True)
class Task:
    """What a run trains, but for the method and the seed.

    Args:
        config: the settings, with values for all that have a default.
        make_model: the function given from Python, see `torchmoments_lab.compare`.
        data: what `config.data` names, as `judged_on` gives it; None: loaded when it is needed. Another process gets it
            too, but for pixels that it reads itself.
        facts: what the settings do not say, and all runs share: which images, which weights, the default place.
    """

    config: TrainConfig
    make_model: Callable[..., Any] | None = None
    data: Data | None = None
    facts: tuple[tuple[str, Setting], ...] = ()

    def load(self) -> Data:
        return self.data or judged_on(load(self.config), self.config)

    def build(self, data: Data) -> Built:
        """The network; its initial weights come from global random numbers.

        Raises:
            ValueError: no such network, it cannot be made, or the weights do not fit; or `small`, and the data are no
                images [C, H, W].
        """
        shape = data.shape
        if self.config.model == "small" and shape is not None and len(shape) != 3:
            repair = "images[:, None] if they are grey" if len(shape) == 2 else "--model your.module:make_model"
            raise ValueError(
                f"model 'small' needs images [C, H, W]; those of the data are {list(shape)}. Write {repair}."
            )
        channels = shape[0] if shape is not None and len(shape) > 1 else None
        return build(self.config, len(data.classes), channels, self.make_model)

    def initial(self, data: Data, seed: int) -> Built:
        """The network with the initial weights of a seed, which leaves the global random numbers as they were."""
        with global_random_numbers(seeds_of(seed).weights):
            return self.build(data)

    def settings(self) -> dict[str, Setting]:
        """The values that all runs of one comparison share."""
        return self.config.settings() | dict(self.facts)

    def digest_of_weights(self) -> str | None:
        """Name of the weights' file and the beginning of its SHA-256."""
        if self.config.weights is None:
            return None
        with self.config.weights.open("rb") as file:
            return f"{self.config.weights.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"


def judged_on(data: Data, config: TrainConfig) -> Data:
    """The data with the test images to be judged on: its own, or validation images in their place."""
    return data if config.evaluate == "test" else data.without_test()
