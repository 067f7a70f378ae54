"""What moments hold of a picture: reconstruction with and without moment shortcuts, and styles exchanged with AdaIN.

    python results/generation.py        results/generation/: numbers.csv, picture.png, and section.md for the page

Autoencoders with a code of 64 numbers on emoji of 32 x 32 pixels (`results/pictures.py companies`): one as it is, one
whose encoder normalizes each position (PONO) and hands the moments to the decoder (MomentShortcut). The second passes
two maps a resolution beside its code, so this compares no two codes; the same maps with the moments of another picture
show that they are used. AdaIN gives features of one picture the channel moments of another.
"""

import csv
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.files import write_bytes, write_text
from torchmoments_lab.report.wording import plus_minus
from torchmoments_lab.statistics.crossed import estimate

ROOT = Path(__file__).resolve().parent.parent
PICTURES, OUT = ROOT / "runs" / "data" / "companies" / "twitter", ROOT / "results" / "generation"
SIDE, CODE, EPOCHS, SEEDS = 32, 64, 20, 3
SHOWN = 9


class Autoencoder(nn.Module):
    """Encode pictures [B, 3, 32, 32] as a code and decode it.

    Args:
        shortcut: whether moments go from the encoder to the decoder.
    """

    def __init__(self, *, shortcut: bool, width: int = 24) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.encode1 = nn.Conv2d(3, width, 3, padding=1)
        self.encode2 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.encode3 = nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1)
        self.to_code = nn.Linear(2 * width * 64, CODE)
        self.from_code = nn.Linear(CODE, 2 * width * 64)
        self.decode2 = nn.ConvTranspose2d(2 * width, 2 * width, 4, stride=2, padding=1)
        self.decode1 = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.to_picture = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, moments_of: Tensor | None = None) -> Tensor:
        """Reconstruct x, or decode its code with the moments of other pictures."""
        code, moments = self.encode(x)
        return self.decode(code, moments if moments_of is None else self.encode(moments_of)[1])

    def encode(self, x: Tensor) -> tuple[Tensor, list[tm.Moments]]:
        moments = []
        for layer in (self.encode1, self.encode2, self.encode3):
            x = layer(x)
            if self.shortcut:
                x, of_layer = tm.normalize(x)
                moments.append(of_layer)
            x = F.relu(x)
        return self.to_code(x.flatten(1)), moments

    def decode(self, code: Tensor, moments: list[tm.Moments]) -> Tensor:
        x = self.from_code(code).unflatten(1, (-1, 8, 8))
        for layer, of_layer in zip(
            (self.decode2, self.decode1, self.to_picture), reversed(moments or [None] * 3), strict=True
        ):
            x = x if of_layer is None else tm.denormalize(x, of_layer)
            x = layer(F.relu(x))
        return x


def load(part: str) -> Tensor:
    """Pictures of a part over white, [N, 3, 32, 32] from 0 to 1."""
    found = []
    for path in sorted((PICTURES / part).rglob("*.png")):
        with Image.open(path) as file:
            picture = file.convert("RGBA")
        over_white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        found.append(np.asarray(over_white.resize((SIDE, SIDE), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


def trained(pictures: Tensor, seed: int, *, shortcut: bool) -> Autoencoder:
    torch.manual_seed(seed)
    model = Autoencoder(shortcut=shortcut)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(pictures), generator=order).split(64):
            loss = F.mse_loss(model(pictures[index]), pictures[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def main() -> None:
    train, test = load("train"), load("test")
    other = test.roll(SHOWN, 0)
    errors: dict[str, list[np.ndarray]] = {"code alone": [], "code and moments": [], "code and moments of another": []}
    shown: dict[str, Tensor] = {}
    for seed in range(SEEDS):
        with torch.enable_grad():
            plain, with_shortcut = (trained(train, seed, shortcut=shortcut) for shortcut in (False, True))
        made = dict(zip(errors, (plain(test), with_shortcut(test), with_shortcut(test, other)), strict=True))
        shown = made if seed == 0 else shown
        for name, pictures in made.items():
            # Root mean square, in percent of the range of a pixel.
            errors[name].append(100 * ((pictures - test) ** 2).mean((1, 2, 3)).sqrt().numpy())
        print(seed, *(f"{name} {of[-1].mean():.2f}" for name, of in errors.items()), flush=True)
    scores = {name: np.array(of) for name, of in errors.items()}
    OUT.mkdir(exist_ok=True)
    rows = [
        ["seed", *scores],
        *([seed, *(f"{of[seed].mean():.4f}" for of in scores.values())] for seed in range(SEEDS)),
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(OUT / "numbers.csv", text.getvalue())
    lines = [f"| {name} | {plus_minus(estimate(of))} |" for name, of in scores.items()]
    gain = estimate(scores["code and moments"] - scores["code alone"])
    lines.append(f"| *moments minus none* | {plus_minus(gain, '+')} |")
    head = "| decoded from | root mean square error, % of a pixel's range |\n|---|---:|\n"
    write_text(OUT / "section.md", "\n\n".join([_HEAD, head + "\n".join(lines), _FOOT]) + "\n")

    features = tm.AdaIN()(test, other).clamp(0, 1)
    draw({"picture": test, **shown, "colours of another (AdaIN)": features, "the other": other})


def draw(rows: dict[str, Tensor]) -> None:
    """Some pictures of each row, its name above them."""
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(7.2, 0.98 * len(rows)))
    # No automatic layout, in which a long title widens the first column.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.96, wspace=0.08, hspace=0.35)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for place, picture in zip(line, pictures[:: len(pictures) // SHOWN], strict=False):
            place.imshow(picture.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
            place.axis("off")
        line[0].set_title(name, loc="left", fontsize=9, pad=3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    write_bytes(OUT / "picture.png", file.getvalue())


_HEAD = f"""\
## Moments carry what a decoder needs

The paper on positional normalization says that these moments hold the structure of a picture, and that a decoder which
gets them from the encoder draws better ones. Emoji as Twitter draws them, {SIDE} x {SIDE} pixels in colour, through a
code of {CODE} numbers: with the code alone, with moments of three layers beside it, and with those of another picture.

![Emoji from the code alone, with their moments, and with those of another](../results/generation/picture.png)"""
_FOOT = """\
```
python results/generation.py
```

[numbers.csv](../results/generation/numbers.csv) has each seed; the picture shows the first."""


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
