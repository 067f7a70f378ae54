"""Jobs on the nodes of a Ray cluster, which need no file of this machine and write none on it.

Ray starts the processes, gives each job its core or its share of a GPU, carries data and results, and does jobs again
whose process or node is lost. The data go into its object store once; a job returns the files of its folder, and this
process writes them.
"""

import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from joblib import cpu_count

from torchmoments_lab import node
from torchmoments_lab.files import write_bytes
from torchmoments_lab.jobs import Finished, Job, Started
from torchmoments_lab.process import Terminated, ending_after_a_step
from torchmoments_lab.shipping import Shipment, shipped
from torchmoments_lab.typed import counted, one_line

# Of one whose process or node was lost; beyond that it has failed.
_TRIES_AGAIN = 3
_SECONDS_BETWEEN_LOOKS = 1
_SECONDS_TO_CONNECT = 5
_SECONDS_TO_START = 60
_SECONDS_OF_A_TASK = 60
_SECONDS_TO_END = 3
# Where it is there, newer versions of Ray start clusters that ask for it.
_TOKEN = Path.home() / ".ray" / "auth_token"


class Cluster:
    """A Ray cluster.

    Args:
        address: HOST:PORT, auto, or local for one that is started here, and ends with the block.
        gpus_per_run: the share of a GPU of each run; None: runs train on cores.
    """

    def __init__(self, address: str, gpus_per_run: float | None) -> None:
        self._address = address
        self._gpus_per_run = gpus_per_run

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ValueError: there is no such cluster, it has no GPU if runs are to have one, or other versions.
        """
        self._connect()
        _speak_on_standard_output(False)
        try:
            self._check_gpus()
            _check_versions()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        import ray

        ray.shutdown()
        _speak_on_standard_output(True)

    def at_once(self, jobs: int) -> int:
        import ray

        resources = ray.cluster_resources()
        room = int(resources.get("CPU", 0))
        if self._gpus_per_run is not None:
            room = min(room, int(resources.get("GPU", 0) / self._gpus_per_run))
        return min(max(1, room), max(1, jobs))

    def where(self, at_once: int) -> str:
        kind = "cores" if self._gpus_per_run is None else "GPUs"
        return f"the {kind} of a Ray cluster of {counted(len(_nodes()), 'node')}"

    def takes_as_long_as_here(self, at_once: int) -> bool:
        return self._gpus_per_run is None

    def train(self, jobs: Sequence[Job], started: Started, finished: Finished) -> None:
        """Do the jobs. On any exception those that are training or waiting are cancelled."""
        import ray

        if not jobs:
            return
        shipment = _stored(shipped(jobs))
        board = _board()
        device = "cpu" if self._gpus_per_run is None else "cuda:0"
        task = ray.remote(_task()).options(
            num_cpus=1, num_gpus=self._gpus_per_run or 0, max_retries=_TRIES_AGAIN, name="torchmoments"
        )
        here = str(Path.cwd())
        # In a list, so that Ray gives the task the reference, and each process reads the data once.
        waiting = {task.remote(here, [shipment], number, device, board): job for number, job in enumerate(jobs)}
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=_SECONDS_BETWEEN_LOOKS)
                running = {id(job) for job in waiting.values()}
                for number, epochs in _news(board):
                    if id(jobs[number]) in running:
                        _begin(jobs[number], epochs, started)
                for reference in done:
                    job = waiting.pop(reference)
                    finished(job, _received(job, reference))
        except SystemExit as end:
            # A signal that comes while Ray waits: it makes an exit of its own of ours.
            raise end if isinstance(end, Terminated) else Terminated(signal.SIGTERM) from None
        finally:
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                # They remove their temporary files. What does not end is killed with the connection.
                ray.wait(list(waiting), num_returns=len(waiting), timeout=_SECONDS_TO_END)

    def _connect(self) -> None:
        import ray

        _check_reachable(self._address)
        is_here = self._address == "local"
        more: dict[str, Any] = {"include_dashboard": False, "num_cpus": cpu_count()} if is_here else {}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            # An exception in the middle of Ray's start crashes it.
            with ending_after_a_step(_SECONDS_TO_START), _own_signals(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(self._address, log_to_driver=False, logging_level="ERROR", **more)
        except ConnectionError as error:
            why = "none runs here" if self._address == "auto" else _first_line(error)
            if _TOKEN.exists() and self._address != "auto" and "RAY_AUTH_MODE" not in os.environ:
                # Ray shows it by itself for auto only.
                why += "; if it asks for your token, set RAY_AUTH_MODE=token"
            raise ValueError(_unreachable(self._address, why)) from error
        except ValueError as error:
            raise ValueError(_unreachable(self._address, _first_line(error))) from error
        except RuntimeError as error:
            # Ray compares its own version and Python's.
            raise ValueError(f"ray needs nodes with the same versions; got: {one_line(error, None)}") from error

    def _check_gpus(self) -> None:
        import ray

        if self._gpus_per_run is not None and ray.cluster_resources().get("GPU", 0) < self._gpus_per_run:
            raise ValueError("gpus_per_run needs a cluster with a GPU; got one without. Leave it out, or start a node.")


def _speak_on_standard_output(does: bool) -> None:
    """Whether Ray tells there what happens to its processes, which has no setting; that is the place of the result."""
    import ray

    ray._private.worker._worker_logs_enabled = does


def _check_reachable(address: str) -> None:
    """Ray itself tries for two minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and len(port) < 6 and host:
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT).close()
        except (OSError, OverflowError) as error:
            raise ValueError(_unreachable(address, str(error))) from error


def _unreachable(address: str, why: str) -> str:
    return (
        f"ray needs the address of a cluster that runs; got {address} ({why}). Start one with `ray start --head`, and "
        "write --ray HOST:PORT, or --ray local to try it on this machine."
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """What is done at a signal stays as it was: Ray ends the process in its own way."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _nodes() -> list[str]:
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def _check_versions() -> None:
    """Raise ValueError unless all nodes have the versions of this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    task = ray.remote(_versions_there())
    here = str(Path.cwd())
    asked = {name: task.options(num_cpus=0, scheduling_strategy=On(name, soft=False)).remote(here) for name in _nodes()}
    mine = node.versions()
    for reference in asked.values():
        try:
            address, theirs = ray.get(reference, timeout=_SECONDS_OF_A_TASK)
        except ray.exceptions.TaskUnschedulableError:
            # A node that has just gone.
            continue
        except ray.exceptions.RayError as error:
            raise ValueError(f"ray needs nodes that can start a process; got: {_first_line(error)}") from error
        differing = [name for name in mine if theirs.get(name) != mine[name]]
        if differing:
            of_theirs, of_mine = (
                ", ".join(f"{name} {of.get(name, 'none')}" for name in differing) for of in (theirs, mine)
            )
            raise ValueError(
                f"ray needs nodes with the same versions, or figures would depend on where a run trained; got node "
                f"{address} with {of_theirs}, and this machine with {of_mine}. Install the same everywhere."
            )


def _versions_there() -> Callable[..., Any]:
    # Functions inside others travel by value, so a node without this package can answer.
    def versions(here: str) -> tuple[str, dict[str, str]]:
        import sys

        import ray

        sys.path[:] = [path for path in sys.path if path != here]
        address = ray.util.get_node_ip_address()
        try:
            from torchmoments_lab import node
        except ImportError:
            return address, {}
        return address, node.versions()

    return versions


def _task() -> Callable[..., Any]:
    # By value too: Ray looks for modules in the current folder first, and `random.py` may be anybody's there.
    def train(here: str, shipment: list[Any], number: int, device: str, board: Any) -> Any:
        import sys

        sys.path[:] = [path for path in sys.path if path != here]
        from torchmoments_lab import node

        return node.train(shipment[0], number, device, board)

    return train


def _stored(shipment: Shipment) -> Any:
    """A reference to the jobs in Ray's object store, where arrays are shared by the processes of a node."""
    import ray

    return ray.put(Shipment(shipment.pickled, [np.frombuffer(buffer, np.uint8) for buffer in shipment.buffers]))


def _board() -> Any:
    """A process on this machine that collects what jobs report, until it is read."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    class Board:
        def __init__(self) -> None:
            self.news: dict[int, bytes] = {}

        def report(self, number: int, epochs: bytes) -> None:
            self.news[number] = epochs

        def read(self) -> dict[int, bytes]:
            news, self.news = self.news, {}
            return news

    here = On(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def _news(board: Any) -> list[tuple[int, bytes]]:
    import ray

    # Nothing depends on it.
    with suppress(ray.exceptions.RayError):
        return list(ray.get(board.read.remote(), timeout=_SECONDS_OF_A_TASK).items())
    return []


def _begin(job: Job, epochs: bytes, started: Started) -> None:
    """Show how a job gets on as if it trained here: its epochs are in a file."""
    if not epochs:
        started(job)
        return
    job.epochs_file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(job.epochs_file, epochs)


def _received(job: Job, reference: Any) -> str | None:
    """Write what a job returned; returns the reason if it failed.

    Raises:
        ConnectionError: this machine is no longer a node of the cluster.
    """
    import ray

    try:
        reason, files = ray.get(reference)
    except ray.exceptions.LocalRayletDiedError as error:
        raise ConnectionError("the Ray cluster is gone: its process on this machine has ended") from error
    except ray.exceptions.RayError as error:
        reason = _cause(error)
        job.record_failure(reason)
        return reason
    job.receive(files)
    failure: str | None = reason
    return failure


def _cause(error: Exception) -> str:
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory"
    if isinstance(error, WorkerCrashedError | NodeDiedError):
        return f"its worker process died {1 + _TRIES_AGAIN} times: it was killed, or crashed in compiled code"
    cause = error.cause if isinstance(error, RayTaskError) else error
    return f"{type(cause).__name__}: {_first_line(cause)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
