"""What is trained, resolved: data that are loaded, a network that was tried, and a value for every setting.

Made by `resolve`; what takes it checks nothing again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from torchmoments_lab.data.split import Data
from torchmoments_lab.methods import Method
from torchmoments_lab.models.network import Network
from torchmoments_lab.settings import Metric, Preprocessing, Setting, TrainingSettings


@dataclass(frozen=True)
class Experiment:
    """What all runs share.

    Args:
        data: training images and those that are judged. Another process gets them too, except for pixels that it reads
            itself.
        network: is built for each run.
        preprocessing, training: with a value for everything that the request left open.
        metric: of a run.
        methods: what is compared; the first is the reference.
        place: the default place of a method; None if the network has none.
        shared: the record of all this that runs of one folder have in common.
        parameters: number of the network's parameters.
    """

    data: Data
    network: Network
    preprocessing: Preprocessing
    training: TrainingSettings
    metric: Metric
    methods: tuple[Method, ...]
    place: str | None
    shared: Mapping[str, Setting]
    parameters: int = 0

    @property
    def train_size(self) -> int:
        assert self.training.train_size is not None
        return self.training.train_size

    @property
    def epochs(self) -> int:
        assert self.training.epochs is not None
        return self.training.epochs

    def random_seed(self, seed: int) -> int:
        """The seed of the random numbers of a run."""
        return self.training.first_seed + seed

    def with_facts(self, **facts: Setting) -> Self:
        """The same, and what else runs of one folder have in common."""
        return replace(self, shared={**self.shared, **facts})
