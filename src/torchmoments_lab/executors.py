"""The executor that a request asks for."""

from torchmoments_lab.jobs import Executor
from torchmoments_lab.settings import Parallel, TrainingSettings


def executor_for(parallel: Parallel, training: TrainingSettings) -> Executor:
    """The processes of this machine, or a Ray cluster.

    Raises:
        ValueError: this machine has no such device, or the settings do not go together.
    """
    if parallel.ray is None:
        from torchmoments_lab.pool import Processes

        return Processes(training, parallel.workers)
    from torchmoments_lab.cluster import Cluster

    if training.device not in (("auto", "cpu") if parallel.gpus_per_run is None else ("auto",)):
        raise ValueError(
            f"device needs auto on a cluster, where runs get a core or a share of a GPU; got {training.device}. Write "
            "--gpus-per-run 1, or leave --device out."
        )
    return Cluster(parallel.ray, parallel.gpus_per_run)
