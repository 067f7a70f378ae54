"""A network by name or by a user's function, built anew for each run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchmoments_lab.models.built import Built, Input
from torchmoments_lab.models.head import start_near_zero
from torchmoments_lab.random_numbers import global_random_numbers, seeds_of
from torchmoments_lab.settings import ModelSettings
from torchmoments_lab.typed import nearest


@dataclass(frozen=True)
class Network:
    """What is built for each run.

    Args:
        settings: name the network, and the weights it starts from.
        classes: number of its outputs.
        channels: of the images if they are known, for `small`.
        make_model: a user's function, in place of the name.
        weights: what the file of weights holds, if it has been read already.
    """

    settings: ModelSettings
    classes: int
    channels: int | None = None
    make_model: Callable[..., Any] | None = None
    weights: Mapping[str, Tensor] | None = None

    @property
    def is_users(self) -> bool:
        """Whether a user's function makes it."""
        return self.make_model is not None or ":" in self.settings.model

    def build(self) -> Built:
        """A new network; its initial weights come from the global random numbers.

        Raises:
            ValueError: no such network, it cannot be made, or the weights do not fit.
        """
        from torchmoments_lab.models.strided import make_safe
        from torchmoments_lab.models.weights import load_state, read_file

        settings = self.settings
        built = self._made()
        # The faster layout for convolutions; a user's model stays as it is.
        if not self.is_users:
            make_safe(built.module.to(memory_format=torch.channels_last))
        if settings.weights is not None:
            weights = read_file(settings.weights) if self.weights is None else self.weights
            new = load_state(built.module, weights, str(settings.weights), self.classes)
            built = replace(built, new_head=new)
        start_near_zero(built.module, built.new_head)
        if settings.image_size is not None:
            return replace(built, input=replace(built.input, size=settings.image_size, fixed_size=True))
        return replace(built, input=replace(built.input, fixed_size=built.input.fixed_size or settings.fine_tunes))

    def initial(self, seed: int) -> Built:
        """The network with the initial weights of a seed; the global random numbers stay as they were."""
        with global_random_numbers(seeds_of(seed).weights):
            return self.build()

    def _made(self) -> Built:
        model = self.settings.model
        library, slash, name = model.partition("/")
        if self.is_users:
            from torchmoments_lab.models.own import call_make_model

            return Built(call_make_model(model, self.make_model, self.classes), Input())
        if model == "small":
            from torchmoments_lab.models.small import SmallResNet

            return Built(SmallResNet(self.channels or 3, self.classes, self.settings.width), Input())
        if slash and library in ("timm", "torchvision", "pytorchcv"):
            from torchmoments_lab.models import libraries

            built: Built = getattr(libraries, f"build_{library}")(name, self.classes, self.settings)
            return built
        known = ("small", "timm/NAME", "torchvision/NAME", "pytorchcv/NAME", "your.module:make_model")
        raise ValueError(f"model needs the name of a model; got {model!r}. {nearest(model, known)}")


def logits(output: Any) -> Tensor:
    """The class scores in what a model returns: a tensor, or an object with `logits`."""
    scores: Tensor = getattr(output, "logits", output)
    return scores
