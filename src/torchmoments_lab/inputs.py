"""What happens to a batch before the network: MixUp and CutMix, by torchvision, and label smoothing.

Their soft targets are passed to `mixed_loss`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class InputMixing:
    """What happens to the images of a batch before the network sees them.

    Args:
        kind: "mixup" (images are added) or "cutmix" (a box of one is put into the other).
        p: probability that a batch is mixed.
        alpha: of the Beta(alpha, alpha) that says how much of an image is kept; one number a batch.

    Raises:
        ValueError: an argument is outside its range.

    Sources: Zhang et al., "mixup", ICLR 2018. Yun et al., "CutMix", ICCV 2019.
    """

    kind: str
    p: float = 1.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_fraction("p", self.p)
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha needs a number over 0; got {self.alpha!r}.")

    def __call__(self, x: Tensor, y: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mixed images and their soft targets [B, classes] float32; both unchanged if the coin says so.

        Args:
            x: images [B, C, H, W] floating point; of any shape for MixUp.
            y: class indices [B].
            classes: their number.
            generator: the one source of chance. Each call takes the same from it, and nothing from torch's global one,
                so that dropout is the same with and without input mixing.
        """
        from torchvision.transforms import v2

        seed, coin = torch.randint(2**62, (2,), generator=generator).tolist()
        if coin / 2**62 >= self.p:
            return x, y
        kinds: dict[str, Callable[..., Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]]
        kinds = {"mixup": v2.MixUp, "cutmix": v2.CutMix}
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the GPU's stream too.
            torch.default_generator.manual_seed(seed)
            # MixUp adds whole images, whatever their shape; torchvision's takes pictures alone.
            flat = x if x.ndim == 4 or self.kind == "cutmix" else x.reshape(len(x), 1, 1, -1)
            mixed, targets = kinds[self.kind](alpha=self.alpha, num_classes=classes)(flat, y)
            return mixed.view(x.shape), targets


def partner_of_the_images(batch_size: int, groups: Tensor | None, generator: torch.Generator) -> Tensor:
    """Whose pixels each image gets in MixUp and CutMix of torchvision: those of the one before it in the batch.

    A policy for the partners of features, see `torchmoments.partners`. Batches are in random order, so chance decides
    who is paired.
    """
    return torch.arange(batch_size, device="cpu").roll(1)


@dataclass(frozen=True)
class LabelSmoothing:
    """A control of label mixing: the images stay, and a share of each label goes to all classes alike.

    target = (1 - amount) * onehot(y) + amount / classes, as in `cross_entropy(..., label_smoothing=amount)`.

    Args:
        amount: the share.

    Raises:
        ValueError: it is not from 0 to 1.

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016.
    """

    amount: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction("amount", self.amount)

    def __call__(self, x: Tensor, y: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images and their soft targets [B, classes] float32. Takes nothing from the generator."""
        hard = torch.nn.functional.one_hot(y, classes).float()
        return x, (1 - self.amount) * hard + self.amount / classes


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} needs a number from 0 to 1; got {value!r}.")
