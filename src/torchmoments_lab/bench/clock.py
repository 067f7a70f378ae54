"""Timing contestants in turns, on a CPU or a GPU, and the memory that a call needs.

Each round runs every contestant once, in another order, so that a machine that is slower for a while is slower for
all. What is compared is of the same round.
"""

import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# Stages of one call: each is run after the other, and timed alone.
Call = Callable[[int], Sequence[Callable[[], Any]]]


def device_of(name: str) -> torch.device:
    """The device to measure.

    Raises:
        ValueError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device needs a GPU that PyTorch can use for cuda; none was found. Write --device cpu.")
    return device


def interleaved(
    calls: Mapping[str, Call], rounds: int, device: torch.device, clock: str = "wall"
) -> dict[str, list[list[float]]]:
    """Seconds of every contestant: {name: [round][stage]}.

    Args:
        calls: a contestant takes the number of the round and gives its stages, which are called in order.
        rounds: that are measured; one more comes first and is thrown away.
        device: where the work is done.
        clock: on a CPU, "wall" time or the "cpu" time of this process; a GPU has its own.
    """
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    order = list(calls)
    shuffle = random.Random(0).shuffle
    seconds: dict[str, list[list[float]]] = {name: [] for name in order}
    for number in range(rounds + 1):
        shuffle(order)
        for name in order:
            stages = calls[name](number)
            taken = _on_gpu(stages) if device.type == "cuda" else _on_cpu(stages, now)
            if number > 0:
                seconds[name].append(taken)
    return seconds


def _on_cpu(stages: Sequence[Callable[[], Any]], now: Callable[[], float]) -> list[float]:
    taken = []
    for stage in stages:
        start = now()
        stage()
        taken.append(now() - start)
    return taken


def _on_gpu(stages: Sequence[Callable[[], Any]]) -> list[float]:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(stages) + 1)]  # type: ignore[no-untyped-call]
    # The GPU sleeps a millisecond while the work is handed over, so that it never waits for Python.
    torch.cuda._sleep(2_000_000)  # type: ignore[no-untyped-call]
    events[0].record()
    for stage, event in zip(stages, events[1:], strict=True):
        stage()
        event.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(events)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    lower, median, upper = quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def cache_bytes(device: torch.device) -> int:
    """The last cache: inputs have to be larger, or they are timed from there."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size.rstrip("K")) * 1024 for size in sizes if size.endswith("K")), default=64 * 2**20)


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """The most memory that a call holds besides what was there before it; what it returns counts."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        kept = call()
        peak = torch.cuda.max_memory_allocated(device) - before
        del kept
        return peak
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = call()
    del kept
    held = peak = 0
    events = recorded.profiler.kineto_results.events()
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    for _, change in sorted(changes, key=lambda change: change[0]):
        held += change
        peak = max(peak, held)
    return peak
