"""The runs of a probe: plain training, whose weights are kept, and from its features the views.

OUT/runs/none/seed3                    plain training, with weights.safetensors
OUT/runs/features/seed3                the rest of the network on all of its features
OUT/runs/moments%3Anorm=pono/seed3     on their moments alone; normalized%3Anorm=pono: on the normalized features alone
"""

import time
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

import torchmoments as tm
from torchmoments_lab.methods import Method, parse_norm
from torchmoments_lab.models.built import Built
from torchmoments_lab.models.network import Network
from torchmoments_lab.probe.head import fit_head, pooled
from torchmoments_lab.probe.views import FromPlace, Source, View
from torchmoments_lab.runs import Run
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.epochs import Epoch, EpochLog
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.train import Result, train


@dataclass(frozen=True)
class ViewRun(Run):
    """The rest of the network, or a head, trained on one part of the features.

    Its method mixes nothing; the method's spec is that of the view.

    Args:
        place: where the features are.
        plain: the plain training of this seed; None for the network before training.
        quick: a head in place of the rest of the network.
    """

    place: str = field(kw_only=True)
    plain: "Run | _Trained | None" = field(kw_only=True)
    quick: bool = field(kw_only=True)

    def with_files_read(self) -> Self:
        """The same run with the weights of the plain training in memory."""
        return self if self.plain is None else replace(self, plain=_Trained(self.plain.weights()))

    def trained(self, log: EpochLog) -> Result:
        source, view = self._source_and_view()
        if self.quick:
            return self._with_head(source, view)
        network = _FromPlaceNetwork(**vars(self.experiment.network), place=self.place, source=source, view=view)
        return train(replace(self.experiment, network=network), self.method, self.seed, log=log)

    def _source_and_view(self) -> tuple[Source, View]:
        """The network whose features are probed, on its device, and the part of them."""
        built = self.experiment.network.initial(self.experiment.random_seed(self.seed))
        if self.plain is not None:
            built.module.load_state_dict(self.plain.weights())
        cpu = torch.device("cpu")
        example = Feed(self.experiment.data, built.input, self.experiment.preprocessing, cpu).example(2)
        source = Source(built.module, self.place)
        channel_dim = tm.layout_of(built.module, self.place).channel_axis(source(example))
        source.model.to(check_device(self.experiment.training))
        part, _, options = self.method.spec.partition(":")
        return source, View(part, parse_norm(options.removeprefix("norm=") or "pono"), channel_dim)

    def _with_head(self, source: Source, view: View) -> Result:
        data, plain = self.experiment.data, replace(self.experiment.preprocessing, augment=False)
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            built = self.experiment.network.build()
        feed = Feed(data, built.input, plain, check_device(self.experiment.training))
        chosen = data.subset(self.experiment.train_size, self.experiment.random_seed(self.seed))
        images = feed.subset(chosen)
        split = list(torch.split(torch.arange(len(images)), 500))
        x_train = [pooled(source(x), view).cpu() for x, _ in feed.training(images, split, torch.Generator())]
        x_test = [pooled(source(x), view).cpu() for x in feed.test()]
        scores = fit_head(
            torch.cat(x_train).numpy(), images.labels.numpy(), torch.cat(x_test).numpy(), len(data.classes)
        )
        seconds = time.perf_counter() - start
        return Result([Epoch(1, float("nan"), float("nan"), 0.0, 0.0)], scores.astype(np.float32), seconds, {})


@dataclass(frozen=True)
class _Trained:
    """What is needed of the plain training on another machine."""

    tensors: dict[str, Tensor]

    def weights(self) -> dict[str, Tensor]:
        return self.tensors


@dataclass(frozen=True)
class _FromPlaceNetwork(Network):
    """The same network, which gets a view of another one's features at the place."""

    place: str = field(kw_only=True)
    source: Source = field(kw_only=True)
    view: View = field(kw_only=True)

    def build(self) -> Built:
        built = super().build()
        return replace(built, module=FromPlace(built.module, self.place, self._features))

    def _features(self, images: Tensor) -> Tensor:
        return self.view(self.source(images))


def view_methods(norms: tuple[str, ...]) -> list[Method]:
    """The views as methods that mix nothing: the features, and for each norm their two parts."""
    specs = ["features", *(f"{part}:norm={norm}" for norm in norms for part in ("moments", "normalized"))]
    return [Method(spec) for spec in specs]
