"""Time a comparison on a Ray cluster beside the processes of one machine, on one core and on two; and jobs that do
nothing, for what a run costs besides its training.

Each node of the cluster is a raylet of its own on this machine, with one core. Prints seconds of wall time, from the
request until the report is written; the cluster runs before. Run it with OMP_NUM_THREADS=1.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torchmoments_lab.cluster import Cluster
from torchmoments_lab.comparison import compare
from torchmoments_lab.jobs import Executor
from torchmoments_lab.requests import Compare


@dataclass(frozen=True)
class Nothing:
    """A job that returns a folder of the usual size."""

    folder: Path
    name: str
    epochs: int = 1

    @property
    def epochs_file(self) -> Path:
        return self.folder / "epochs.csv"

    def on(self, device: str) -> Self:
        return self

    def with_files_read(self) -> Self:
        return self

    def within(self, folder: Path) -> "Nothing":
        return Nothing(folder, self.name)

    def train(self) -> str | None:
        (self.folder / "predictions.npy").write_bytes(bytes(60_000))
        return None

    def receive(self, files: Mapping[str, bytes]) -> None:
        (self.folder / self.name).write_bytes(files["predictions.npy"])

    def record_failure(self, reason: str) -> None:
        raise AssertionError(reason)

    def last_epoch(self) -> None:
        return None

    def outcome(self) -> str:
        return ""

    def summary(self) -> dict[str, Any]:
        return {}


def seconds_of_a_comparison(seeds: int, epochs: int, **parallel: Any) -> float:
    with tempfile.TemporaryDirectory() as folder:
        request = Compare().with_values(
            train_size=200, epochs=epochs, methods=("none", "moex"), seeds=seeds, out=Path(folder) / "out", **parallel
        )
        start = time.perf_counter()
        compare(request)
        return time.perf_counter() - start


def seconds_of_nothing(executor: Executor, number: int) -> float:
    """From the first result to the last: processes have started by then."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, executor:
        jobs = [Nothing(Path(folder), f"run{n}") for n in range(number)]
        executor.train(jobs, lambda job: None, lambda job, reason: ends.append(time.perf_counter()))
    return ends[-1] - ends[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--nothing", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    for cores in (1, 2):
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
        if cores == 2:
            nodes.add_node(num_cpus=1)
        for _ in range(arguments.rounds):
            here = seconds_of_a_comparison(arguments.seeds, arguments.epochs, workers=cores)
            there = seconds_of_a_comparison(arguments.seeds, arguments.epochs, ray=nodes.address)
            print(f"{2 * arguments.seeds} runs, {cores} at a time: processes {here:.1f} s, Ray {there:.1f} s")
        idle = seconds_of_nothing(Cluster(nodes.address, None), arguments.nothing)
        print(f"{arguments.nothing} jobs that do nothing, {cores} at a time: Ray {idle:.1f} s")
        nodes.shutdown()


if __name__ == "__main__":
    main()
