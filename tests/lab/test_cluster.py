"""Runs on a Ray cluster: the figures of one machine, whatever is lost on the way."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.lab.jobs import Stub
from torchmoments_lab import cluster, node
from torchmoments_lab.comparison import compare
from torchmoments_lab.probe.probe import probe
from torchmoments_lab.requests import Compare, Probe
from torchmoments_lab.resolve import Objects

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals")]

TINY = Compare().with_values(train_size=50, epochs=3, width=4, methods=("none", "moex"), seeds=3)
PATIENCE = 120
# What a run's time may be is another machine's, or another time's.
OWN = ("env.json", "summary.json")


@pytest.fixture(scope="module")
def nodes():
    """A cluster of a head without cores and two nodes with a core each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def figures(out):
    """{file: content} of all runs, without what depends on the machine."""
    return {path.relative_to(out): path.read_bytes() for path in out.glob("runs/*/seed*/*") if path.name not in OWN}


def hidden(out):
    return [path.name for path in out.rglob("*") if path.name.startswith(".")]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The figures of this machine, and its summary."""
    out = tmp_path_factory.mktemp("here") / "out"
    summary = compare(TINY.with_values(out=out, workers=1))
    return figures(out), summary


def test_a_cluster_gives_the_figures_of_one_machine_and_goes_on_where_it_stopped(tmp_path, nodes, here):
    of_here, _ = here
    out, ended = tmp_path / "out", []
    compare(TINY.with_values(out=out, workers=1, seeds=1))
    on_cluster = TINY.with_values(out=out, ray=nodes.address)
    found = compare(on_cluster.with_values(seeds=2), lambda progress: ended.append(progress.ended))
    assert len(list(filter(None, ended))) == 2
    compare(TINY.with_values(out=out, workers=1))
    assert figures(out) == of_here
    assert hidden(out) == []
    assert found.errors["moex"].n == 2


@pytest.mark.thorough
def test_a_cluster_has_nothing_to_do_if_all_runs_are_complete(tmp_path, nodes, here):
    compare(TINY.with_values(out=tmp_path / "out", workers=1))
    found = compare(TINY.with_values(out=tmp_path / "out", ray=nodes.address))
    assert (found.errors, found.differences["moex"].ci95) == (here[1].errors, here[1].differences["moex"].ci95)


def held_until(path):
    """Makes a network whose second training step in another process waits for this file, 20 s at most."""
    mine = os.getpid()

    def wait(module, _):
        module.calls = getattr(module, "calls", 0) + module.training
        end = time.monotonic() + 20 * (module.calls == 2 and os.getpid() != mine)
        while time.monotonic() < end and not path.exists():
            time.sleep(0.05)

    def make_model(num_classes):
        layers = torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, num_classes)
        model = torch.nn.Sequential(*layers)
        model.register_forward_pre_hook(wait)
        return model

    images, labels = torch.randn(50, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2
    return Objects(make_model, (images, labels), (images, labels))


@pytest.mark.thorough
def test_runs_of_a_node_that_is_killed_are_done_again(tmp_path, nodes):
    import ray

    killed = tmp_path / "killed"

    def kill(progress):
        # Both nodes train one. This process belongs to a node that Ray has chosen.
        if len(progress.running) >= 2 and not killed.exists():
            mine = ray.get_runtime_context().get_node_id()
            lost = next(node for node in nodes.worker_nodes if node.node_id != mine)
            raylet = lost.all_processes["raylet"][0].process
            trains = [child for child in children(raylet.pid) if is_training(child)]
            assert len(trains) == 1
            # As when a machine is gone. The process of a run would outlive Ray's, and might still send what it has.
            raylet.kill()
            for child in trains:
                os.kill(int(child), signal.SIGKILL)
            wait_until(
                lambda: lost.node_id not in [node["NodeID"] for node in ray.nodes() if node["Alive"]], "its loss"
            )
            killed.touch()

    request = Compare().with_values(data="objects:tuple", model="objects:make_model", epochs=3, seeds=2)
    request = request.with_values(methods=("none", "moex:norm=in,at=0"), out=tmp_path / "out", ray=nodes.address)
    compare(request, kill, objects=held_until(killed))
    nodes.add_node(num_cpus=1)
    assert killed.exists()
    alone = request.with_values(out=tmp_path / "here", ray=None, workers=1)
    compare(alone, objects=held_until(killed))
    assert len(figures(request.out)) == 4 * 3
    assert figures(request.out) == figures(alone.out)
    assert hidden(request.out) == []


@pytest.mark.thorough
def test_views_get_the_weights_of_plain_runs_on_other_machines(tmp_path, nodes):
    request = Probe().with_values(train_size=50, epochs=2, width=4, seeds=2, norms=("pono",))
    of_cluster = probe(request.with_values(out=tmp_path / "cluster", ray=nodes.address))
    of_here = probe(request.with_values(out=tmp_path / "here", workers=1))
    assert figures(tmp_path / "cluster") == figures(tmp_path / "here")
    assert of_cluster.views == of_here.views


@pytest.mark.thorough
def test_a_process_that_is_killed_is_started_again_and_one_that_always_dies_fails(tmp_path, nodes, monkeypatch, capsys):
    # Ray's own number is 3, as ours.
    monkeypatch.setattr(cluster, "_TRIES_AGAIN", 1)
    finished = {}
    jobs = [Stub(tmp_path, "good"), Stub(tmp_path, "once", killed=1), Stub(tmp_path, "always", killed=99)]
    with cluster.Cluster(nodes.address, None) as executor:
        executor.train(jobs, lambda job: None, lambda job, reason: finished.update({job.name: reason}))
    assert finished == {
        "good": None,
        "once": None,
        "always": "its worker process died 2 times: it was killed, or crashed in compiled code",
    }
    assert {path.name for path in tmp_path.glob("*-*")} == {"good-received", "once-received", "always-failed"}
    # Ray's own news of it, which would stand among the results.
    assert capsys.readouterr().out == ""


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_command_that_ends_leaves_no_run_on_the_cluster(tmp_path, nodes, number, code):
    out = tmp_path / "out"
    words = ["compare", "--methods", "none", "--train-size", "50", "--width", "4", "--seeds", "2", "--epochs", "100000"]
    words += ["--ray", nodes.address, "--out", str(out)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "torchmoments_lab", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have started the tests with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: len(list(out.glob("runs/*/.seed*.metrics.csv"))) == 2, "the beginning of two runs")
        assert len(training(nodes)) == 2
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert said.splitlines()[-1] == f"Stopped. 0 complete runs are kept in {out}; rerun the command to resume."
        assert hidden(out) == []
    wait_until(lambda: not training(nodes), "the end of all runs")


def training(nodes):
    """The processes of this cluster that train a run."""
    raylets = [each.process.pid for node in nodes.list_all_nodes() for each in node.all_processes["raylet"]]
    return [child for pid in raylets for child in children(pid) if is_training(child)]


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_training(pid):
    # Of a process that has ended it is empty, or not there.
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::torchmoments")
    return False


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {PATIENCE} seconds"
        time.sleep(0.1)


@pytest.mark.thorough
def test_a_cluster_may_ask_for_the_users_token(tmp_path):
    """As one does that is started once `--ray local`, or anything else, has made a token."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    if subprocess.run([*ray, "get-auth-token", "--generate"], env=environment, capture_output=True).returncode:
        pytest.skip("this version of Ray has no tokens")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ["start", "--head", "--block", "--num-cpus=1", "--include-dashboard=false", f"--port={port}"]
    head = subprocess.Popen([*ray, *start], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        words = ["compare", "--train-size", "50", "--epochs", "1", "--width", "4", "--seeds", "1", "--methods", "none"]
        command = [sys.executable, "-m", "torchmoments_lab", *words, "--ray", f"127.0.0.1:{port}", "--out"]
        wait_until(lambda: listens(port), "the start of Ray")
        command.append(str(tmp_path / "out"))
        refused = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "if it asks for your token, set RAY_AUTH_MODE=token" in refused.stderr
        subprocess.run(command, env={**environment, "RAY_AUTH_MODE": "token"}, check=True)
    finally:
        head.terminate()
        head.wait(PATIENCE)


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_other_versions_on_a_node_are_refused(tmp_path, nodes, monkeypatch):
    monkeypatch.setattr(node, "versions", lambda: node_versions | {"torch": "1.0", "pillow": "2.0"})
    with pytest.raises(ValueError) as refusal:
        compare(TINY.with_values(out=tmp_path / "out", ray=nodes.address))
    theirs = f"torch {node_versions['torch']}, pillow {node_versions['pillow']}"
    assert f"with {theirs}, and this machine with torch 1.0, pillow 2.0. Install the same everywhere." in str(
        refusal.value
    )
    assert not (tmp_path / "out").exists()


node_versions = node.versions()


def test_a_cluster_without_a_gpu_has_none_for_runs(tmp_path, nodes):
    with pytest.raises(ValueError, match="gpus_per_run needs a cluster with a GPU; got one without"):
        compare(TINY.with_values(out=tmp_path / "out", ray=nodes.address, gpus_per_run=0.5))


@pytest.mark.thorough
def test_a_program_in_the_current_folder_is_not_run_on_the_cluster(tmp_path, nodes):
    stolen = tmp_path / "stolen"
    for name in ("random", "select", "copy", "csv", "html", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(stolen)!r}, 'w'); raise ImportError")
    command = [sys.executable, "-P", "-m", "torchmoments_lab"]
    words = ["compare", "--train-size", "50", "--epochs", "1", "--width", "4", "--seeds", "1", "--methods", "none"]
    subprocess.run([*command, *words, "--ray", nodes.address, "--out", tmp_path / "out"], cwd=tmp_path, check=True)
    assert not stolen.exists()
