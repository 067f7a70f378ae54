"""The runs of a probe: plain training, whose weights are kept, and from its features the views.

OUT/runs/none/seed3                    plain training, with weights.safetensors
OUT/runs/features/seed3                the rest of the network on all of its features
OUT/runs/moments%3Anorm=pono/seed3     on their moments alone; normalized%3Anorm=pono: on the normalized features alone
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import torchmoments as tm
from torchmoments_lab.config import Setting
from torchmoments_lab.data.split import Data
from torchmoments_lab.methods import Method
from torchmoments_lab.models import Built
from torchmoments_lab.models.weights import read_safetensors
from torchmoments_lab.probe.head import fit_head, pooled
from torchmoments_lab.probe.views import FromPlace, Source, view
from torchmoments_lab.runs import WEIGHTS, Run
from torchmoments_lab.training.device import check_device
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.task import Task
from torchmoments_lab.training.train import Result, train


@dataclass(frozen=True)
class PlainRun(Run):
    """Plain training that keeps its weights."""

    def write(self, result: Result, data: Data, *, threads: int = 1, keep_weights: bool = True) -> None:
        super().write(result, data, threads=threads, keep_weights=True)


@dataclass(frozen=True)
class ViewRun(Run):
    """The rest of the network, or a head, trained on one part of the features; `method` is the view's word.

    Args:
        place: where the features are.
        plain: folder of the plain training of this seed; None for the network before training.
        quick: a head in place of the rest of the network.
    """

    place: str = field(kw_only=True)
    plain: Path | None = field(kw_only=True)
    quick: bool = field(kw_only=True)

    def settings(self) -> dict[str, Setting]:
        return super().settings() | {"at": self.place, "quick": self.quick, "trained": self.plain is not None}

    def trained(self, data: Data) -> Result:
        part, _, options = self.method.partition(":")
        norm = options.removeprefix("norm=") or "pono"
        source, channel_dim = self._source(data)
        if self.quick:
            return self._with_head(source, data, lambda x: pooled(x, part, norm, channel_dim))
        given = _View(source, part, norm, channel_dim)
        task = _FromPlaceTask(**vars(self.task), place=self.place, given=given)
        return train(task, Method("none"), self.seed, data)

    def _source(self, data: Data) -> tuple[Source, int]:
        """The network whose features are probed, on its device; and the axis of its channels."""
        device = check_device(self.task.config)
        built = self.task.initial(data, self.seed)
        if self.plain is not None:
            built.module.load_state_dict(read_safetensors(self.plain / WEIGHTS))
        example = Feed(data, built.input, self.task.config, torch.device("cpu")).example(2)
        source = Source(built.module, self.place)
        channel_dim = tm.layout_of(built.module, self.place).channel_axis(source(example))
        source.model.to(device)
        return source, channel_dim

    def _with_head(self, source: Source, data: Data, statistics: Callable[[Tensor], Tensor]) -> Result:
        config = replace(self.task.config, augment=False)
        assert config.train_size is not None
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            built = self.task.build(data)
        feed = Feed(data, built.input, config, check_device(config))
        pool = feed.pool(data.subset(config.train_size, self.seed))
        split = list(torch.split(torch.arange(len(pool)), 500))
        known = [statistics(source(x)).cpu() for x, _ in feed.training(pool, split, torch.Generator())]
        asked = [statistics(source(x)).cpu() for x in feed.test()]
        scores = fit_head(torch.cat(known).numpy(), pool.labels.numpy(), torch.cat(asked).numpy(), len(data.classes))
        epoch = {"epoch": 1, "loss": float("nan"), "accuracy": float("nan"), "lr": 0.0}
        return Result([epoch], scores.astype(np.float32), time.perf_counter() - start, {})


@dataclass(frozen=True)
class _View:
    source: Source
    part: str
    norm: str
    channel_dim: int

    def __call__(self, x: Tensor) -> Tensor:
        return view(self.source(x), self.part, self.norm, self.channel_dim)


@dataclass(frozen=True)
class _FromPlaceTask(Task):
    """The same task, of a network that sees at the place what it is given."""

    place: str = field(kw_only=True)
    given: Callable[[Tensor], Tensor] = field(kw_only=True)

    def build(self, data: Data) -> Built:
        built = super().build(data)
        return replace(built, module=FromPlace(built.module, self.place, self.given))


def view_words(norms: tuple[str, ...]) -> list[str]:
    """The words of all views: the features, and for each norm their two parts."""
    return ["features", *(f"{part}:norm={norm}" for norm in norms for part in ("moments", "normalized"))]
