"""An autoencoder that preserves the structure of images: PONO removes moments, and a moment shortcut adds them back.

    python examples/autoencoder.py --out autoencoder.png

Two networks with a code of 8 numbers are trained on scikit-learn's digits (8 x 8 pixels). In one of them, the encoder
also passes the moments at both of its resolutions to the decoder, a mean and a standard deviation for each position.
These maps are 160 numbers in addition to the code, so the errors do not compare two codes: they show what information
moments hold. Needs scikit-learn and matplotlib; takes a few seconds on one core.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import torchmoments as tm


class Autoencoder(nn.Module):
    """Encode images [B, 1, 8, 8] as a code [B, 8] and decode it."""

    def __init__(self, *, moments: bool, width: int = 16, code: int = 8) -> None:
        super().__init__()
        self.moments = moments
        self.pono = tm.PONO()
        self.shortcut = tm.MomentShortcut()
        self.encode1 = nn.Conv2d(1, width, 3, padding=1)
        self.encode2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.to_code = nn.Linear(2 * width * 16, code)
        self.from_code = nn.Linear(code, 2 * width * 16)
        self.decode2 = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.decode1 = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, mean1, std1 = self._take_moments(self.encode1(x))
        h, mean2, std2 = self._take_moments(self.encode2(F.relu(h)))
        h = self.from_code(self.to_code(F.relu(h).flatten(1))).unflatten(1, (-1, 4, 4))
        if self.moments:
            h = self.shortcut(h, mean2, std2)
        h = self.decode2(F.relu(h))
        if self.moments:
            h = self.shortcut(h, mean1, std1)
        return self.decode1(F.relu(h))

    def _take_moments(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.moments:
            return self.pono(h)
        return h, torch.zeros(()), torch.ones(())


def train(model: nn.Module, images: Tensor, epochs: int, seed: int) -> None:
    """Minimize the squared error, with the same batches for every model of a seed."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(images), generator=order).split(64):
            loss = F.mse_loss(model(images[index]), images[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("autoencoder.png"), help="where the picture is written")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    images = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 16
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(arguments.seed))]
    training, test = images[:1437], images[1437:]
    rows = {"image": test}
    for name, moments in (("without", False), ("PONO + moment shortcut", True)):
        torch.manual_seed(arguments.seed)
        model = Autoencoder(moments=moments)
        train(model, training, arguments.epochs, arguments.seed)
        with torch.no_grad():
            rows[name] = model(test)
        print(f"{name}: mean squared error {F.mse_loss(rows[name], test):.5f} on {len(test)} test images")

    figure, axes = plt.subplots(len(rows), 10, figsize=(8, 1.05 * len(rows)), layout="constrained")
    for line, (name, shown) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, shown, strict=False):
            place.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            place.axis("off")
        line[0].set_title(name, loc="left", fontsize=9)
    temporary = arguments.out.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=100)
    temporary.replace(arguments.out)


if __name__ == "__main__":
    main()
