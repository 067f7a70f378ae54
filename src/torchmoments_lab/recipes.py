"""The settings of the paper's own experiments, for `torchmoments train --recipe NAME`.

Source: the authors' code, github.com/Boyiliee/MoEx. None of them was run here: they need days on GPUs. What still
differs from that code is listed in results/recipes.md.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from torchmoments_lab.command import as_flag
from torchmoments_lab.config import SingleConfig, nearest

if TYPE_CHECKING:
    from torch import nn


def pyramidnet200_a240(num_classes: int) -> "nn.Module":
    """PyramidNet-200 with alpha 240, for images of 32 x 32, with the authors' initial weights.

    A convolution of k x k to C channels starts from N(0, 2 / (k k C)). pytorchcv, whose network it is, starts from a
    uniform distribution by the number of inputs.
    """
    from pytorchcv.model_provider import get_model
    from torch import nn

    model: nn.Module = get_model("pyramidnet200_a240_bn_cifar10")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    model.output = nn.Linear(model.get_submodule("output").in_features, num_classes)  # type: ignore[arg-type]
    return model


def _cifar(classes: int) -> SingleConfig:
    name = f"cifar{classes}"
    return SingleConfig(
        data=name,
        model="torchmoments_lab.recipes:pyramidnet200_a240",
        # After the first convolution and its norm, which no ReLU follows.
        method="moex:norm=pono,p=0.25,lam=0.5,at=features.init_block",
        augment=True,
        epochs=300,
        batch_size=64,
        lr=0.25,
        schedule="step",
        weight_decay=1e-4,
        out=Path("runs") / f"{name}-pyramidnet200",
    )


def _imagenet(method: str, name: str) -> SingleConfig:
    batch = 8 * 224
    return SingleConfig(
        # ImageNet's own layout: train/CLASS/*.JPEG and val/CLASS/*.JPEG.
        data="folder:imagenet",
        model="torchvision/resnet50",
        method=method,
        image_size=224,
        augment=True,
        test_crop=0.875,
        epochs=300,
        batch_size=batch,
        lr=0.1 * batch / 256,
        schedule="cosine",
        warmup_epochs=5,
        schedule_every="step",
        nesterov=False,
        weight_decay=1e-4,
        precision="16-mixed",
        devices=8,
        loader_workers=8,
        out=Path("runs") / name,
    )


RECIPES = {
    "cifar10-pyramidnet200": _cifar(10),
    "cifar100-pyramidnet200": _cifar(100),
    "imagenet-resnet50": _imagenet("moex:norm=pono,p=1,lam=0.9,at=maxpool", "imagenet-resnet50"),
    "imagenet-resnet50-cutmix": _imagenet(
        "cutmix:p=1,alpha=1+moex:norm=pono,p=0.25,lam=0.9,at=maxpool,same_partner=True", "imagenet-resnet50-cutmix"
    ),
}


def with_recipe(words: Sequence[str]) -> list[str]:
    """The words of a command line with the flags of its `--recipe` before all others, which therefore go before them.

    Raises:
        ValueError: there is no such recipe.
    """
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--recipe=") else [word])]
    if not words or words[0] != "train" or "--recipe" not in split[:-1]:
        return list(words)
    name = split[split.index("--recipe") + 1]
    if name not in RECIPES:
        raise ValueError(f"recipe needs a known name; got {name!r}. {nearest(name, RECIPES)}")
    recipe, plain = RECIPES[name], SingleConfig()
    changed = [f.name for f in fields(recipe) if getattr(recipe, f.name) != getattr(plain, f.name)]
    return ["train", *(word for field in changed for word in as_flag(field, getattr(recipe, field))), *words[1:]]
