"""What asv times in several commits: `asv continuous LAST_TAG main`. Features are small, for a minute in all."""

import torch
from torch import nn

import torchmoments as tm

torch.set_num_threads(1)


class Exchange:
    """Forward and backward of the exchange."""

    params = (["pono", "in"], [(32, 64, 28, 28), (64, 16, 8, 8)])
    param_names = ("norm", "shape")

    def setup(self, norm, shape):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(*shape, generator=generator, requires_grad=True)
        self.partner = torch.randperm(shape[0], generator=generator)
        self.g = torch.randn(*shape, generator=generator)

    def time_forward_and_backward(self, norm, shape):
        tm.exchange(self.x, self.partner, norm).backward(self.g)


class Step:
    """A training step of a small network, which shows what drawing, hooks and labels cost."""

    params = ("plain", "MoEx", "MixStyle", "DSU", "CrossNorm", "EFDMix")
    param_names = ("method",)

    def setup(self, method):
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)
        )
        self.x, self.y = torch.randn(32, 3, 16, 16), torch.randint(10, (32,))
        self.criterion = nn.CrossEntropyLoss()
        if method != "plain":
            site = tm.attach(self.model, getattr(tm, method)(p=1), at="0", seed=0)
            self.criterion = site.criterion(self.criterion)

    def time_step(self, method):
        self.model.zero_grad()
        self.criterion(self.model(self.x), self.y).backward()
