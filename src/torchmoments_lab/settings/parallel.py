"""How many runs train at a time, and where."""

from dataclasses import dataclass
from importlib.util import find_spec

from torchmoments_lab.typed import Settings, at_least


@dataclass(frozen=True)
class Parallel(Settings):
    """Runs at a time, on this machine or on a cluster; no result depends on it."""

    workers: int | None = None
    """Runs at a time, one thread each. None: one for each core; on GPUs one for each."""
    ray: str | None = None
    """A Ray cluster to train on, as many runs at a time as it has cores: HOST:PORT, auto for the one that this machine
    belongs to, or local for one that is started here. Needs the extra torchmoments[ray]."""
    gpus_per_run: float | None = None
    """The share of a GPU of the cluster that a run gets, up to 1: 0.25 trains four on each. None: runs get a core."""

    def check(self) -> None:
        at_least(1, "workers", self.workers, "worker")
        if self.ray is None:
            if self.gpus_per_run is not None:
                raise ValueError("gpus_per_run needs a cluster; got no --ray. Write --ray auto, or leave it out.")
            return
        if not self.ray.strip():
            raise ValueError(
                "ray needs the address of a cluster; got an empty one. Write --ray HOST:PORT, auto or local."
            )
        if self.workers is not None:
            raise ValueError(
                f"workers are processes of this machine; got {self.workers} and a cluster, which trains as many runs "
                "as it has cores, or GPUs for. Leave one out."
            )
        if self.ray.startswith("ray://"):
            raise ValueError(
                f"ray needs HOST:PORT of a cluster that this machine belongs to; got {self.ray}, of Ray's client. "
                "Start the command on one of the nodes, with --ray auto."
            )
        if self.gpus_per_run is not None and not 0 < self.gpus_per_run <= 1:
            raise ValueError(
                f"gpus_per_run needs a number above 0, up to 1; got {self.gpus_per_run:g}. Write --gpus-per-run 0.5, "
                "for two runs on each GPU."
            )
        if find_spec("ray") is None:
            raise ValueError(
                "ray needs the package ray, which is not installed. Install it with: pip install 'torchmoments[ray]'"
            )
