"""What `torchmoments compare` adds to small runs: beside it, one process a core with a loop written by hand.

    OMP_NUM_THREADS=1 python benchmarks/small_runs.py

Both train four networks on 200 digits for 80 epochs, two plain and two with MoEx, two processes at a time; the
hand-written ones with the published formula. Prints seconds of CPU time and of wall time, in turns. CPU time counts on
a machine that others use too.
"""

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

from torchmoments.lab.models.small import SmallResNet

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


def train_by_hand(seed: int, with_moex: bool) -> float:
    """Error on the test images, in percent."""
    torch.manual_seed(seed)
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    training, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=digits.target, random_state=0)
    chosen = np.random.default_rng(seed).permutation(training)[:IMAGES]
    images, labels = x[chosen], y[chosen]
    model = SmallResNet(1, 10, 16).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
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
    if len(sys.argv) > 1:
        torch.set_num_threads(1)
        seed = int(sys.argv[1])
        print([train_by_hand(seed, with_moex) for with_moex in (False, True)])
        return
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--methods", "none", "moex", "--seeds", "2", "--workers", "2", "--out", str(Path(folder) / "out")]
            ours = seconds_of([sys.executable, "-m", "torchmoments.cli", "compare", *flags])
        by_hand = seconds_of([sys.executable, __file__, "0"], [sys.executable, __file__, "1"])
        for name, (used, wall) in (("compare", ours), ("by hand", by_hand)):
            print(f"{name}: {used:.1f} s of CPU, {wall:.1f} s of wall time", flush=True)


if __name__ == "__main__":
    main()
