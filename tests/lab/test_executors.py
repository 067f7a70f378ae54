"""Which executor a request gets, before anything is loaded or written."""

import pytest

from torchmoments_lab.executors import executor_for
from torchmoments_lab.settings import Parallel, TrainingSettings


def test_processes_are_as_many_as_asked_for_and_never_more_than_jobs():
    processes = executor_for(Parallel(workers=3), TrainingSettings(device="cpu"))
    assert [processes.at_once(jobs) for jobs in (0, 2, 3, 9)] == [1, 2, 3, 3]
    assert processes.where(2) == "cpu"


@pytest.mark.parametrize("ray", [None, "local"])
def test_a_device_that_is_not_there_is_refused(ray):
    with pytest.raises(ValueError, match="device needs (one that this machine has|auto on a cluster)"):
        executor_for(Parallel(ray=ray), TrainingSettings(device="cuda:99"))


def test_no_cluster_here_is_said_without_the_words_of_ray(monkeypatch):
    ray = pytest.importorskip("ray")

    def find_none(*arguments, **more):
        raise ConnectionError("Could not find any running Ray instance. Please specify the one with `--address`.")

    # Another one may run on this machine.
    monkeypatch.setattr(ray, "init", find_none)
    with pytest.raises(ValueError, match=r"got auto \(none runs here\)\. Start one"):
        executor_for(Parallel(ray="auto"), TrainingSettings()).__enter__()


def test_runs_on_the_cores_of_a_cluster_may_be_asked_for_the_cpu():
    executor_for(Parallel(ray="local"), TrainingSettings(device="cpu"))
    with pytest.raises(ValueError, match="device needs auto on a cluster"):
        executor_for(Parallel(ray="local", gpus_per_run=0.5), TrainingSettings(device="cpu"))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("no-such-host.invalid:6379", ""),
        ("nonsense", "Invalid address format"),
    ],
)
def test_a_cluster_that_is_not_there_is_said_at_once(address, why):
    pytest.importorskip("ray")
    executor = executor_for(Parallel(ray=address), TrainingSettings())
    with pytest.raises(ValueError) as refusal, executor:
        pass
    said = str(refusal.value)
    assert said.startswith(f"ray needs the address of a cluster that runs; got {address} (")
    assert why in said
    assert said.endswith("and write --ray HOST:PORT, or --ray local to try it on this machine.")
