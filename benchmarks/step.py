"""Time one training step of a model: plain, with our methods at p = 1, and with other packages' MixUp and CutMix.

Times and memory are ratios to the plain step of the same round. `multiply` multiplies the features by a number at the
first method's place: no method that changes features can cost less. Every result is added to the CSV as a row.
"""

import copy
import importlib.util
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import timing
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm

Batch = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

OTHERS = ["multiply", "timm-mixup", "timm-cutmix", "torchvision-mixup", "torchvision-cutmix"]
HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__, "bench/step.csv")
    add = parser.add_argument
    add("--model", default="small", help="the lab's network, or torchvision/resnet50, timm/NAME, pytorchcv/NAME")
    add("--batch", type=int, default=128, help="images a step")
    add("--image", type=int, help="side of the images; None: what the model is made for")
    add("--classes", type=int, default=10, help="number of classes")
    add("--methods", nargs="*", default=["moex"], help="as in `torchmoments compare`")
    add("--others", nargs="*", choices=OTHERS, default=OTHERS, help="those whose package is missing are left out")
    add("--precision", choices=["32", *HALF], default="32", help="of the step")
    add("--compile", action="store_true", help="compile the model")
    add("--channels-last", action="store_true", help="layout of the model and its images")
    chosen = timing.parse(parser, arguments, "contestant,model,")
    if chosen.batch < 2:
        parser.error(f"--batch needs at least 2 images, for a partner; got {chosen.batch}.")
    torch.manual_seed(0)
    try:
        model, shape, methods = of_the_lab(chosen)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    batches = batches_of(chosen, shape)
    timing.record(chosen.out, [measure(chosen, batches, trainers(chosen, model, methods, batches[0][0][:2]))])


def of_the_lab(chosen: Namespace) -> tuple[nn.Module, tuple[int, ...], list[Any]]:
    """What is named as on the lab's command line: the model, the shape of its images, and the methods.

    Raises:
        ValueError: no such model or method.
        ImportError: the package of the model is not installed.
    """
    from torchmoments_lab.methods import parse_methods
    from torchmoments_lab.models.network import Network
    from torchmoments_lab.settings import ModelSettings

    methods = [method.always() for method in parse_methods(chosen.methods)]
    built = Network(ModelSettings(model=chosen.model), chosen.classes, channels=1).build()
    small = chosen.model == "small"
    side = chosen.image or built.input.size or (8 if small else 224)
    return built.module, (built.input.channels or (1 if small else 3), side, side), methods


def measure(chosen: Namespace, batches: Sequence[Batch], trainers: dict[str, "Trainer"]) -> list[timing.Row]:
    """The rows of all contestants.

    Raises:
        RuntimeError: a step does not train, so its time would mean nothing.
    """
    for trainer in trainers.values():
        trainer.check(batches)
    calls = {name: partial(trainer.stages, batches) for name, trainer in trainers.items()}
    rounds = timing.interleaved(calls, chosen.repeats, chosen.device, chosen.clock)
    memory = {name: timing.peak_bytes(call(0)[0], chosen.device) for name, call in calls.items()}
    machine = timing.machine(chosen.device, chosen.clock)
    seconds = {name: [sum(stages) for stages in taken] for name, taken in rounds.items()}
    return [
        {
            "contestant": name,
            "model": chosen.model,
            "batch": chosen.batch,
            "image": "x".join(map(str, batches[0][0].shape[1:])),
            "precision": chosen.precision,
            "compiled": str(chosen.compile),
            "layout": "channels_last" if chosen.channels_last else "contiguous",
            **timing.with_quartiles("ms", [1000 * value for value in values], 3),
            **timing.with_quartiles("ratio", [a / b for a, b in zip(values, seconds["plain"], strict=True)], 4),
            "rounds": len(values),
            "peak_extra_bytes": memory[name],
            "peak_ratio": round(memory[name] / memory["plain"], 4),
            **machine,
        }
        for name, values in seconds.items()
    ]


def batches_of(chosen: Namespace, shape: tuple[int, ...]) -> list[Batch]:
    """Batches to be taken in turn, together larger than the cache."""
    size = (chosen.batch, *shape)
    place: Any = {"generator": torch.Generator(chosen.device).manual_seed(0), "device": chosen.device}
    number = -(-2 * timing.cache_bytes(chosen.device) // (4 * torch.Size(size).numel()))
    return [
        (
            torch.randn(size, **place).to(memory_format=_layout(chosen)),
            torch.randint(chosen.classes, size[:1], **place),
        )
        for _ in range(min(64, max(2, number)))
    ]


def _layout(chosen: Namespace) -> torch.memory_format:
    return torch.channels_last if chosen.channels_last else torch.contiguous_format


class Trainer:
    """One contestant: a model, its optimizer, and the loss of a batch."""

    def __init__(self, model: nn.Module, loss: Loss, chosen: Namespace) -> None:
        self.model, self.loss, self.device = model, loss, chosen.device.type
        self.optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)
        self.half = HALF.get(chosen.precision)
        self.scaler = torch.amp.GradScaler(self.device, enabled=chosen.precision == "16-mixed")
        self.forward: Any = torch.compile(model) if chosen.compile else model

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Forward, backward, and the optimizer's step, without waiting for the device."""
        with torch.autocast(self.device, dtype=self.half, enabled=self.half is not None):
            loss = self.loss(self.forward, x, y)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()

    def stages(self, batches: Sequence[Batch], number: int) -> Sequence[Callable[[], Any]]:
        return (partial(self.step, *batches[number % len(batches)]),)

    def check(self, batches: Sequence[Batch]) -> None:
        """Warm up, and hold the step to what it says: finite, and other weights afterwards."""
        before = [parameter.detach().clone() for parameter in self.model.parameters()]
        for number in range(3):
            loss = self.step(*batches[number % len(batches)])
        same = all(map(torch.equal, before, self.model.parameters()))
        if same or not torch.isfinite(loss):
            raise RuntimeError(f"a step of {type(self.model).__name__} does not train: loss {float(loss)}.")


def trainers(chosen: Namespace, model: nn.Module, methods: Sequence[Any], example: Tensor) -> dict[str, Trainer]:
    """The contestants; packages that mix images only share the plain model."""
    model.to(chosen.device, memory_format=_layout(chosen))
    found: dict[str, Trainer] = {}
    place: str | None = None
    for method in methods:
        if method.mixer is None and method.inputs is None:
            continue
        mixed = copy.deepcopy(model)
        # Attach before compiling.
        site, loss = _with_method(mixed, method, example, chosen.classes)
        found[method.spec] = Trainer(mixed, loss, chosen)
        if site is not None and method.changes_features:
            place = place or site.places[0]
    plain_trainer = Trainer(model, plain, chosen)
    for name in chosen.others:
        package, _, kind = name.partition("-")
        if name == "multiply" and place is not None:
            multiplied = copy.deepcopy(model)
            multiplied.get_submodule(place).register_forward_hook(multiply)
            found[name] = Trainer(multiplied, plain, chosen)
        elif name != "multiply" and importlib.util.find_spec(package) is not None:
            found[name] = copy.copy(plain_trainer)
            found[name].loss = (_with_timm if package == "timm" else _with_torchvision)(kind, chosen.classes)
    return {"plain": plain_trainer, **found}


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def multiply(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return 1.001 * output


def _with_method(model: nn.Module, method: Any, example: Tensor, classes: int) -> tuple[tm.Site | None, Loss]:
    """A method as in training, attached to the model."""
    from torchmoments_lab.models.attach import attach

    site = attach(model, method, example, seed=0)
    generator = torch.Generator().manual_seed(0)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        groups = y if method.needs_groups else None
        if method.inputs is not None:
            x, y = method.inputs(x, y, classes, generator)
        if site is None:
            return plain(model, x, y)
        with site.mixing(len(x), groups=groups) as plan:
            assert plan is not None
            return tm.mixed_loss(F.cross_entropy, model(x), y, plan)

    return site, loss


def _with_timm(kind: str, classes: int) -> Loss:
    """timm's MixUp or CutMix: soft labels of one strength a batch."""
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy

    mixup, cutmix = (0.2, 0.0) if kind == "mixup" else (0.0, 1.0)
    mix = Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.0, num_classes=classes)
    criterion = SoftTargetCrossEntropy()

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        # A copy, because it writes into what it is given; a loader would have made the batch anew.
        x, soft = mix(x.clone(memory_format=torch.preserve_format), y)
        return criterion(model(x), soft)

    return loss


def _with_torchvision(kind: str, classes: int) -> Loss:
    """torchvision's MixUp or CutMix."""
    from torchvision.transforms import v2

    mix = (v2.MixUp if kind == "mixup" else v2.CutMix)(num_classes=classes)
    return lambda model, x, y: plain(model, *mix(x, y))


if __name__ == "__main__":
    main()
