"""Time small runs of `torchmoments compare` beside loops written by hand, two processes at a time.

All train two networks a seed on 200 digits for 80 epochs, one plain and one with MoEx; the hand-written ones with the
published formula, as most loops are written and tuned with the two settings of PyTorch that the lab uses too:
channels_last, and the optimizer's fused step. Prints seconds of CPU time and of wall time, in turns; CPU time counts on
a machine that others use too. Run it with OMP_NUM_THREADS=1.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchmoments_lab.models.small import SmallResNet

EPOCHS, IMAGES, BATCH = 80, 200, 50


class Exchange:
    """The published formula at p = 0.5, as a forward hook."""

    partner: torch.Tensor | None = None

    def __call__(self, module: torch.nn.Module, arguments: object, x: torch.Tensor) -> torch.Tensor | None:
        if self.partner is None or not module.training:
            return None
        mean = x.mean(dim=1, keepdim=True)
        std = x.var(dim=1, keepdim=True).add(1e-5).sqrt()
        return (x - mean) / std * std[self.partner] + mean[self.partner]


def train_by_hand(seed: int, with_moex: bool, tuned: bool) -> float:
    """Error on the test images, in percent."""
    torch.manual_seed(seed)
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    training, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=digits.target, random_state=0)
    chosen = np.random.default_rng(seed).permutation(training)[:IMAGES]
    images, labels = x[chosen], y[chosen]
    model = SmallResNet(1, 10, 16)
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    settings = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "fused": tuned}
    optimizer = torch.optim.SGD(model.parameters(), 0.1, **settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    exchange = Exchange()
    if with_moex:
        model.stem.register_forward_hook(exchange)
    for _ in range(EPOCHS):
        for index in torch.randperm(IMAGES).split(BATCH):
            mixes = with_moex and bool(torch.rand(()) < 0.5)
            exchange.partner = partner = torch.randperm(len(index)) if mixes else None
            output, target = model(images[index]), labels[index]
            loss = F.cross_entropy(output, target)
            if partner is not None:
                loss = 0.9 * loss + 0.1 * F.cross_entropy(output, target[partner])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        return 100 * (model(x[test]).argmax(1) != y[test]).float().mean().item()


def seconds_of(*commands: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of processes side by side."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError("a process failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=2, help="pairs of runs; 2 if not given")
    parser.add_argument("--first", type=int, help="train by hand in this process, every second seed from this one on")
    parser.add_argument("--tuned", action="store_true", help="with the settings of the lab")
    chosen = parser.parse_args()
    if chosen.first is not None:
        torch.set_num_threads(1)
        mine = range(chosen.first, chosen.seeds, 2)
        print([train_by_hand(seed, with_moex, chosen.tuned) for seed in mine for with_moex in (False, True)])
        return
    by_hand = [[sys.executable, __file__, str(chosen.seeds), "--first", first] for first in ("0", "1")]
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "out")
            flags = ["--methods", "none", "moex", "--seeds", str(chosen.seeds), "--workers", "2", "--out", out]
            show("compare", [sys.executable, "-m", "torchmoments_lab", "compare", *flags])
        show("by hand", *by_hand)
        show("by hand, tuned", *([*command, "--tuned"] for command in by_hand))


def show(name: str, *commands: list[str]) -> None:
    used, wall = seconds_of(*commands)
    print(f"{name}: {used:.1f} s of CPU, {wall:.1f} s of wall time", flush=True)


if __name__ == "__main__":
    main()
