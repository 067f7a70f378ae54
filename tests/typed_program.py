"""A user's program for a type checker, and for PyTorch alone: `nox -s package`.

Each `type: ignore` is a mistake that the checker has to find: --strict refuses one that it does not need.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab import compare, predict


def train() -> float:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
    x, y = torch.randn(8, 3, 8, 8), torch.arange(8) % 2

    site: tm.Site = tm.attach(model, tm.MoEx(p=1.0), at="0", seed=0)
    site.criterion(nn.CrossEntropyLoss())(model(x), y).backward()

    draw: tm.Draw | None = tm.MoEx(p=1.0).draw(8)
    mixed: Tensor = tm.MoEx()(x, draw)
    moments: tm.Moments = tm.moments(mixed, "in")
    with site.mixing(8) as plan:
        loss: Tensor = tm.mixed_loss(nn.functional.cross_entropy, model(x), y, plan)
    return float((loss + moments.mean.mean()).detach())


def experiment(make_model: type[nn.Module], data: tuple[Tensor, Tensor], out: Path) -> float | None:
    difference: float | None = compare(make_model, data, data, ["none", "moex"], out=out).differences["moex"].mean
    names: Sequence[str] = predict(out / "weights.safetensors", data[0]).classes
    print(names)
    return difference


def mistakes(model: nn.Module) -> None:
    tm.MoEx(p="often")  # type: ignore[arg-type]
    tm.attach(model, "moex")  # type: ignore[arg-type]
    tm.moments(torch.zeros(2, 3, 4, 4), backend="fast")  # type: ignore[call-arg]
    compare(model, [], [], methods=3, out=Path())  # type: ignore[arg-type]


if __name__ == "__main__":
    print(tm.__file__, train())
