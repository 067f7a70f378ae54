"""The settings of the paper's own experiments, for `torchmoments train --recipe NAME`.

Source: the authors' code, github.com/Boyiliee/MoEx. None of them was run here: they need days on GPUs. What still
differs from that code is listed in results/recipes.md.
"""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchmoments_lab.typed import nearest

if TYPE_CHECKING:
    from torch import nn

# Mixed after the first convolution and its norm, which no ReLU follows.
_CIFAR = (
    "--model torchmoments_lab.recipes:pyramidnet200_a240 --method moex:norm=pono,p=0.25,lam=0.5,at=features.init_block "
    "--augment --epochs 300 --batch-size 64 --lr 0.25 --schedule step --schedule-every epoch --warmup-epochs 0 "
    "--weight-decay 1e-4"
)
# ImageNet's own layout: train/CLASS/*.JPEG and val/CLASS/*.JPEG. A batch is 8 times 224; lr is 0.1 for 256 images.
_IMAGENET = (
    "--data folder:imagenet --model torchvision/resnet50 --image-size 224 --augment --crop-scale 0.08 "
    "--test-crop 0.875 --epochs 300 --batch-size 1792 --lr 0.7 --schedule cosine --warmup-epochs 5 "
    "--schedule-every step --no-nesterov --weight-decay 1e-4 --precision 16-mixed --devices 8 --loader-workers 8"
)
RECIPES = {
    "cifar10-pyramidnet200": f"--data cifar10 {_CIFAR} --out runs/cifar10-pyramidnet200",
    "cifar100-pyramidnet200": f"--data cifar100 {_CIFAR} --out runs/cifar100-pyramidnet200",
    "imagenet-resnet50": f"--method moex:norm=pono,p=1,lam=0.9,at=maxpool {_IMAGENET} --out runs/imagenet-resnet50",
    "imagenet-resnet50-cutmix": "--method cutmix:p=1,alpha=1+moex:norm=pono,p=0.25,lam=0.9,at=maxpool,same_partner=True"
    f" {_IMAGENET} --out runs/imagenet-resnet50-cutmix",
}


def with_recipe(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line with those of its `--recipe` first, so that all others override them.

    Raises:
        ValueError: there is no such recipe.
    """
    split = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if argument.startswith("--recipe=") else [argument])
    ]
    if not arguments or arguments[0] != "train" or "--recipe" not in split[:-1]:
        return list(arguments)
    name = split[split.index("--recipe") + 1]
    if name not in RECIPES:
        raise ValueError(f"recipe needs a known name; got {name!r}. {nearest(name, RECIPES)}")
    return ["train", *shlex.split(RECIPES[name]), *arguments[1:]]


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
