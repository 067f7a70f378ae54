"""How a network is trained."""

import math
from dataclasses import dataclass
from typing import Literal

from torchmoments_lab.typed import Settings, at_least, counted

Optimizer = Literal["sgd", "adamw"]
Balance = Literal["none", "weights", "sampling"]


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How it is trained. What is left open depends on where it starts: from scratch, or from trained weights."""

    train_size: int | None = None
    """Number of training images, stratified by class. Each seed draws its own. None: 200 digits, all of others."""
    first_seed: int = 0
    """What is added to each seed: other training images, weights and batches, for a confirmation with fresh seeds."""
    epochs: int | None = None
    """Passes over the training images. The last epoch counts. None: 80 for digits, 60 for others; from trained weights
    20, and as many more as --min-steps needs."""
    min_steps: int | None = None
    """Epochs are added until there are so many steps. None: from trained weights 300, if --epochs is left open."""
    batch_size: int = 50
    """Images a step."""
    optimizer: Optimizer | None = None
    """sgd: with momentum 0.9. None: sgd; from trained weights adamw."""
    lr: float | None = None
    """Learning rate at the start. None: sgd 0.1, adamw 0.003; from trained weights 0.01 and 0.001."""
    head_lr: float | None = None
    """That of the classifier, the last layer. None: the same."""
    freeze_body: bool = False
    """Train the classifier alone. The rest keeps its weights, and its normalizations their statistics."""
    weight_decay: float | None = None
    """Weight decay. None: 5e-4 of sgd, 0.05 of adamw."""
    nesterov: bool = True
    """Nesterov's momentum in sgd, or the plain one."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """cosine: the learning rate falls to 0. step: to a tenth after half and after three quarters of the epochs."""
    warmup_epochs: int | None = None
    """Epochs at the start in which the learning rate grows in equal steps to that of the schedule. None: 0; from
    trained weights a tenth of them."""
    schedule_every: Literal["epoch", "step"] | None = None
    """When the learning rate changes: after each epoch, or after each step. By steps, warm-up starts from 0 and its
    last step has the whole learning rate. None: epoch; from trained weights step."""
    label_smoothing: float = 0.0
    """Share of each label that goes to all classes alike, whatever the method."""
    balance: Balance = "none"
    """For classes of unequal numbers. weights: the loss of a rare class counts more, so that all count the same.
    sampling: an epoch draws as many images as before, with replacement, the same number of each class."""
    ema: float | None = None
    """Test with an average of the weights over the steps, which decays by this factor a step, 0.99 for example."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the network: 32 bits, or mixed with 16."""
    compile: bool = False
    """Compile the network with torch.compile."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""

    def check(self) -> None:
        at_least(1, "train_size", self.train_size, "training image")
        at_least(0, "first_seed", self.first_seed, "")
        at_least(1, "epochs", self.epochs, "epoch")
        at_least(1, "min_steps", self.min_steps, "step")
        at_least(2, "batch_size", self.batch_size, "images, for BatchNorm and for a partner")
        at_least(0, "warmup_epochs", self.warmup_epochs, "epochs")
        if self.epochs is not None and (self.warmup_epochs or 0) >= self.epochs:
            raise ValueError(
                f"warmup_epochs needs fewer than the {counted(self.epochs, 'epoch')}; got {self.warmup_epochs}. "
                f"Write --warmup-epochs {self.epochs - 1} or less."
            )
        for name, rate in (("lr", self.lr), ("head_lr", self.head_lr)):
            if rate is not None and not (math.isfinite(rate) and rate > 0):
                flag = name.replace("_", "-")
                raise ValueError(f"{name} needs a finite number above 0; got {rate}. Write --{flag} 0.1, for example.")
        if self.freeze_body and self.lr is not None:
            raise ValueError("lr is that of the body, which --freeze-body keeps as it is. Write --head-lr instead.")
        if self.weight_decay is not None and not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay needs a finite number, 0 or more; got {self.weight_decay}. "
                "Write --weight-decay 5e-4, for example."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing needs a share from 0 to below 1; got {self.label_smoothing}. "
                "Write --label-smoothing 0.1, for example."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema needs a factor between 0 and 1; got {self.ema}. Write --ema 0.99, for example.")
