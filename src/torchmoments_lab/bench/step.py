"""One training step of a model: plain, with our methods at p = 1, and with other packages' MixUp and CutMix.

A contestant is a model with its optimizer and a function that turns images and labels into a loss. Those that mix
images only train the plain model itself. Every ratio is to the plain step of the same round. `multiply` does as
little with the features as can be done: no method that changes them can cost less.
"""

import copy
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.bench.clock import cache_bytes, device_of, interleaved, peak_bytes, quartiles
from torchmoments_lab.bench.config import Step
from torchmoments_lab.bench.rows import Row, machine
from torchmoments_lab.config import SubjectConfig
from torchmoments_lab.methods import Method, parse_methods
from torchmoments_lab.models import Input, build
from torchmoments_lab.models.attach import attach

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def measure(config: Step) -> Iterator[list[Row]]:
    """The rows of all contestants, in one piece.

    Raises:
        ValueError: the request makes no sense here.
        ImportError: the package of the model is not installed.
        RuntimeError: a method does not train what it says, so its time would mean nothing.
    """
    config.check()
    device = device_of(config.device)
    images, trainers = _images_and_trainers(config, device)
    for trainer in trainers.values():
        trainer.check(images)
    seconds = interleaved(
        {name: trainer.call(images) for name, trainer in trainers.items()}, config.repeats, device, config.clock
    )
    memory = {name: peak_bytes(partial(trainer.step, *images[0]), device) for name, trainer in trainers.items()}
    totals = {name: [sum(stages) for stages in rounds] for name, rounds in seconds.items()}
    rows: list[Row] = []
    for name, values in totals.items():
        middle, lower, upper = quartiles(values)
        ratio, ratio_lower, ratio_upper = quartiles([a / b for a, b in zip(values, totals["plain"], strict=True)])
        rows.append(
            {
                "contestant": name,
                "model": config.model,
                "batch": config.batch,
                "image": "x".join(map(str, images.shape)),
                "precision": config.precision,
                "compiled": str(config.compile),
                "layout": "channels_last" if config.channels_last else "contiguous",
                "ms": round(1000 * middle, 3),
                "ms_q1": round(1000 * lower, 3),
                "ms_q3": round(1000 * upper, 3),
                "ratio": round(ratio, 4),
                "ratio_q1": round(ratio_lower, 4),
                "ratio_q3": round(ratio_upper, 4),
                "rounds": len(values),
                "peak_extra_bytes": memory[name],
                "peak_ratio": round(memory[name] / memory["plain"], 4),
                **machine(device, config.clock),
            }
        )
    yield rows


class Trainer:
    """One contestant: a model, its optimizer, and the loss of a batch."""

    def __init__(self, model: nn.Module, loss: Loss, config: Step, device: torch.device) -> None:
        self.model = model
        self.loss = loss
        self.device = device
        self.optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)
        self.precision = config.precision
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "16-mixed")
        self.forward: Any = torch.compile(model) if config.compile else model

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Forward, backward, and the optimizer's step, without waiting for the device."""
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)
        with nullcontext() if half is None else torch.autocast(self.device.type, dtype=half):
            loss = self.loss(self.forward, x, y)
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()

    def call(self, images: "_Images") -> Callable[[int], Sequence[Callable[[], Any]]]:
        return lambda number: (lambda: self.step(*images[number]),)

    def check(self, images: "_Images") -> None:
        """Warm up, and hold the step to what it says: finite, and other weights afterwards."""
        before = [parameter.detach().clone() for parameter in self.model.parameters()]
        for number in range(3):
            loss = self.step(*images[number])
        same = all(map(torch.equal, before, self.model.parameters()))
        if same or not torch.isfinite(loss):
            raise RuntimeError(f"a step of {type(self.model).__name__} does not train: loss {float(loss)}.")


class Plain:
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)


class Ours:
    """A method as in training, but always mixed: p = 1 of the images and of the features."""

    def __init__(self, model: nn.Module, method: Method, example: Tensor, classes: int) -> None:
        always = method.always()
        self.inputs = always.inputs
        self.site = attach(model, always, example, seed=0)
        self.pairs_classes = method.pairs_classes
        self.classes = classes
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        groups = y if self.pairs_classes else None
        if self.inputs is not None:
            x, y = self.inputs(x, y, self.classes, self.generator)
        if self.site is None:
            return F.cross_entropy(model(x), y)
        with self.site.mixing(len(x), groups=groups) as plan:
            assert plan is not None
            return tm.mixed_loss(F.cross_entropy, model(x), y, plan)


class OfTimm:
    """timm's MixUp or CutMix: soft labels of one strength a batch."""

    def __init__(self, kind: str, classes: int) -> None:
        timm_data = importlib.import_module("timm.data")
        strength = (
            {"mixup_alpha": 0.2, "cutmix_alpha": 0.0} if kind == "mixup" else {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}
        )
        self.mix = timm_data.Mixup(**strength, label_smoothing=0.0, num_classes=classes)
        self.criterion = importlib.import_module("timm.loss").SoftTargetCrossEntropy()

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        # A copy, because it writes into what it is given; a loader would have made the batch anew.
        x, soft = self.mix(x.clone(memory_format=torch.preserve_format), y)
        loss: Tensor = self.criterion(model(x), soft)
        return loss


class OfTorchvision:
    """torchvision's MixUp or CutMix."""

    def __init__(self, kind: str, classes: int) -> None:
        transforms = importlib.import_module("torchvision.transforms.v2")
        self.mix = {"mixup": transforms.MixUp, "cutmix": transforms.CutMix}[kind](num_classes=classes)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x, soft = self.mix(x, y)
        return F.cross_entropy(model(x), soft)


def _images_and_trainers(config: Step, device: torch.device) -> tuple["_Images", dict[str, Trainer]]:
    torch.manual_seed(0)
    built = build(SubjectConfig(model=config.model), config.classes, 1, None)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = built.module.to(device, memory_format=layout)  # type: ignore[call-overload]
    images = _Images(config, built.input, device)
    trainers: dict[str, Trainer] = {}
    sites: list[tm.Site] = []
    for method in parse_methods(config.methods):
        if method.mixer is None and method.inputs is None:
            continue
        mixed = copy.deepcopy(model)
        # Attach before compiling.
        ours = Ours(mixed, method, images[0][0][:2], config.classes)
        trainers[method.word] = Trainer(mixed, ours, config, device)
        if ours.site is not None and method.changes_features:
            sites.append(ours.site)
    plain = Trainer(model, Plain(), config, device)
    for name in config.others:
        package, _, kind = name.partition("-")
        if name == "multiply":
            if sites:
                multiplied = copy.deepcopy(model)
                multiplied.get_submodule(sites[0].places[0]).register_forward_hook(_multiply)
                trainers[name] = Trainer(multiplied, Plain(), config, device)
        elif importlib.util.find_spec(package) is not None:
            trainers[name] = copy.copy(plain)
            trainers[name].loss = (OfTimm if package == "timm" else OfTorchvision)(kind, config.classes)
    return images, {"plain": plain, **trainers}


def _multiply(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return 1.001 * output


class _Images:
    """Batches in turn, together larger than the cache."""

    def __init__(self, config: Step, wanted: Input, device: torch.device) -> None:
        channels = wanted.channels or (1 if config.model == "small" else 3)
        side = config.image or wanted.size or (8 if config.model == "small" else 224)
        self.shape = (channels, side, side)
        generator = torch.Generator(device).manual_seed(0)
        number = min(64, max(2, -(-2 * cache_bytes(device) // (4 * config.batch * channels * side * side))))
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.batches = [
            (
                torch.randn(config.batch, *self.shape, generator=generator, device=device).to(
                    memory_format=memory_format
                ),
                torch.randint(config.classes, (config.batch,), generator=generator, device=device),
            )
            for _ in range(number)
        ]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.batches[number % len(self.batches)]
