"""What the benchmarks share: timing in turns, the memory of a call, and the CSV with the hardware in each row.

Each round runs every contestant once, in another order, so that a machine that slows down for a while slows all of
them down. Only times of the same round are compared.
"""

import argparse
import csv
import importlib.util
import itertools
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import quantiles
from typing import Any

# Read when PyTorch is imported: otherwise its profiler, which counts the memory, writes to standard error.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
import torch
from torch.profiler import ProfilerActivity, profile

Row = dict[str, str | int | float | None]
# The stages of one call, which run after each other and are timed separately; an argument chooses the input.
Call = Callable[[int], Sequence[Callable[[], Any]]]


def parser(description: str | None, out: str) -> argparse.ArgumentParser:
    """A command line with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    gpu = torch.cuda.is_available()
    parser.add_argument("--repeats", type=int, default=30, help="rounds, at least 3; each contestant runs once in each")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if gpu else "cpu", help="where to measure")
    clock = "wall time or CPU time of this process, for a machine that others use too; a GPU has its own clock"
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help=clock)
    parser.add_argument("--out", type=Path, default=out, help="CSV to add the rows to; a figure is drawn beside it")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None, header: str) -> argparse.Namespace:
    """The arguments; a wrong request ends the process with one sentence before anything is measured.

    Args:
        header: what the first line of the CSV begins with.
    """
    chosen = parser.parse_args(arguments)
    if chosen.repeats < 3:
        parser.error(f"--repeats needs at least 3, for quartiles; got {chosen.repeats}. Write --repeats 30.")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU that PyTorch can use; none was found. Write --device cpu.")
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        with chosen.out.open("a+") as file:
            file.seek(0)
            found = file.readline()
    except OSError as error:
        parser.error(f"--out needs a file that can be written; got {chosen.out}: {error.strerror}.")
    if not found:
        chosen.out.unlink()
    elif not found.startswith(header):
        parser.error(f"--out needs a CSV of this benchmark or a new file; {chosen.out} has other columns.")
    chosen.device = torch.device(chosen.device)
    return chosen


def interleaved(
    calls: Mapping[str, Call], rounds: int, device: torch.device, clock: str = "wall"
) -> dict[str, list[list[float]]]:
    """Seconds of every contestant: {name: [round][stage]}. One more round comes first and is thrown away."""
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    order = list(calls)
    shuffle = random.Random(0).shuffle
    seconds: dict[str, list[list[float]]] = {name: [] for name in order}
    for number in range(rounds + 1):
        shuffle(order)
        for name in order:
            stages = calls[name](number)
            taken = _on_gpu(stages) if device.type == "cuda" else on_cpu(stages, now)
            if number > 0:
                seconds[name].append(taken)
    return seconds


def on_cpu(stages: Sequence[Callable[[], Any]], now: Callable[[], float]) -> list[float]:
    """Seconds of each stage by the clock `now`."""
    taken = []
    for stage in stages:
        start = now()
        stage()
        taken.append(now() - start)
    return taken


def _on_gpu(stages: Sequence[Callable[[], Any]]) -> list[float]:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(stages) + 1)]
    # The GPU sleeps a millisecond while the work is handed over, so that it never waits for Python.
    torch.cuda._sleep(2_000_000)
    events[0].record()
    for stage, event in zip(stages, events[1:], strict=True):
        stage()
        event.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(events)]


def with_quartiles(name: str, values: Sequence[float], digits: int) -> dict[str, float]:
    """The columns `name`, `name_q1` and `name_q3`: the median and the quartiles."""
    lower, median, upper = quantiles(values, n=4, method="inclusive")
    return {name: round(median, digits), f"{name}_q1": round(lower, digits), f"{name}_q3": round(upper, digits)}


def cache_bytes(device: torch.device) -> int:
    """Size of the last cache; inputs together have to be larger, or they are timed from there."""
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
    events = recorded.profiler.kineto_results.events()
    changes = sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns())
    return max(itertools.accumulate((event.nbytes() for event in changes), initial=0))


def machine(device: torch.device, clock: str) -> Row:
    """The columns that say where a result comes from."""
    gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else _cpu_name(),
        "threads": None if gpu else torch.get_num_threads(),
        "clock": "gpu" if gpu else clock,
        # How glibc was told to hand out memory, which decides a few percent of a step on a CPU.
        "malloc": " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name[:7] == "MALLOC_"),
        "torch": torch.__version__,
        "triton": _version_of("triton"),
        "torchmoments": _version_of("torchmoments"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def record(out: Path, cases: Iterable[Sequence[Row]]) -> None:
    """Print the rows of each case and add them to the CSV when it is measured; draw the figure at the end."""
    for rows in cases:
        for row in rows:
            print(_line(row), flush=True)
        with out.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)
    if importlib.util.find_spec("matplotlib") is None:
        print(f"Written to {out}. The figure needs matplotlib.", file=sys.stderr)
        return
    import figures

    figures.draw(out)


def _line(row: Row) -> str:
    case = [str(row[key]) for key in ("contestant", "norm", "layout", "dtype", "shape", "direction") if key in row]
    relative = "share_of_copy" if "share_of_copy" in row else "ratio"
    memory = row["peak_extra_bytes"]
    numbers = f"{row['ms']} ms [{row['ms_q1']}, {row['ms_q3']}], {relative} {row[relative]}"
    return f"{' '.join(case)}: {numbers}{'' if memory is None else f', memory {memory} bytes'}"
