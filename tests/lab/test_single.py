"""`torchmoments train`: checkpoints, resuming, several devices, its folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.lab.experiments import experiment
from torchmoments_lab import cli, single
from torchmoments_lab.comparison import compare
from torchmoments_lab.methods import parse_method
from torchmoments_lab.requests import Compare, Train
from torchmoments_lab.runs import Run
from torchmoments_lab.single import train_once
from torchmoments_lab.training import train as training
from torchmoments_lab.training.epochs import EpochLog

# They train.
pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return Train().with_values(train_size=40, epochs=4, batch_size=16, width=4, augment=True, out=tmp_path / "out")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the complete run `tiny`, to be read."""
    out = tmp_path_factory.mktemp("made") / "out"
    train_once(Train().with_values(train_size=40, epochs=4, batch_size=16, width=4, augment=True, out=out))
    return out


def outcome(out):
    return {name: (out / name).read_bytes() for name in ("predictions.npy", "weights.safetensors", "metrics.csv")}


def stopped_after(epoch, monkeypatch, run):
    """Call `run`, which is stopped as with Ctrl-C when it has saved this epoch."""
    save = training.Training.save

    def save_and_stop(self, checkpoint):
        save(self, checkpoint)
        if self.epoch == epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run()


def test_a_stopped_run_goes_on_to_the_same_result_bit_for_bit(tiny, tmp_path, monkeypatch):
    tiny = tiny.with_values(method="cutmix+moex")
    whole = tiny.with_values(out=tmp_path / "whole")
    train_once(whole)
    stopped_after(2, monkeypatch, lambda: train_once(tiny))
    assert [path.name for path in tiny.out.iterdir()] == ["checkpoint.pt"]
    epochs, add = [], EpochLog.add
    monkeypatch.setattr(EpochLog, "add", lambda self, epoch: epochs.append(epoch.epoch) or add(self, epoch))
    said = []
    train_once(tiny, notice=said.append)
    assert epochs == [3, 4]
    assert "4 epochs of 3 steps, 2 of them complete already; on cpu." in said[-1]
    assert outcome(tiny.out) == outcome(whole.out)


def test_dropout_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    config = Compare().with_values(train_size=40, epochs=4, batch_size=16, lr=0.1)

    def make_model():
        norm, dropout = torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5)
        return torch.nn.Sequential(norm, torch.nn.Flatten(), dropout, torch.nn.Linear(64, 10))

    found, method = experiment(config, make_model=make_model), parse_method("moex:norm=in,at=0")
    whole = training.train(found, method, 0)
    checkpoint = single.Checkpoint(tmp_path / "checkpoint.pt", {})
    stopped_after(2, monkeypatch, lambda: training.train(found, method, 0, checkpoint=checkpoint))
    # Whatever came in between is no part of the run.
    torch.manual_seed(99)
    torch.rand(7)
    resumed = training.train(found, method, 0, checkpoint=checkpoint)
    assert resumed.epochs == whole.epochs
    assert np.array_equal(resumed.scores, whole.scores)


def test_the_folder_is_a_run_folder_with_the_weights(tiny):
    run = train_once(tiny)
    names = {"config.json", "env.json", "metrics.csv", "predictions.npy", "summary.json", "weights.safetensors"}
    assert {path.name for path in tiny.out.iterdir()} == names
    written = json.loads((tiny.out / "summary.json").read_text())
    assert written["error"] == run.summary()["error"]
    predictions = np.load(tiny.out / "predictions.npy")
    found = experiment(tiny)
    model = found.network.build().module
    model.load_state_dict(load_file(tiny.out / "weights.safetensors"))
    data = found.data
    with torch.inference_mode():
        x = (data.test.images / 16 - 4.9 / 16) / (6 / 16)
        expected = model.eval()(x).softmax(1)
    torch.testing.assert_close(torch.from_numpy(predictions["scores"].copy()), expected)


def test_it_is_the_run_that_compare_makes(tiny, tmp_path):
    train_once(tiny.with_values(seed=3))
    run = Run.of_many(tmp_path / "comparison", experiment(tiny), parse_method("moex"), 3)
    assert run.train() is None
    for name in ("predictions.npy", "metrics.csv"):
        assert (run.folder / name).read_bytes() == (tiny.out / name).read_bytes()


def test_a_complete_run_is_left_alone(tiny):
    train_once(tiny)
    before = outcome(tiny.out), (tiny.out / "summary.json").stat().st_mtime_ns
    said = []
    # The process was killed when the run was complete, and before this was removed.
    (tiny.out / "checkpoint.pt").touch()
    train_once(tiny, notice=said.append)
    assert not (tiny.out / "checkpoint.pt").exists()
    assert said[-1] == f"This run is complete in {tiny.out}."
    assert (outcome(tiny.out), (tiny.out / "summary.json").stat().st_mtime_ns) == before


@pytest.mark.parametrize("complete", [False, True])
def test_a_folder_of_another_run_is_refused(tiny, monkeypatch, complete):
    if complete:
        train_once(tiny)
    else:
        stopped_after(1, monkeypatch, lambda: train_once(tiny))
    files = {path: path.read_bytes() for path in tiny.out.iterdir()}
    with pytest.raises(ValueError, match=r"holds runs with lr 0.1 \(got 0.2\); seed 0 \(got 1\)"):
        train_once(tiny.with_values(lr=0.2, seed=1))
    assert {path: path.read_bytes() for path in tiny.out.iterdir()} == files


def test_a_folder_in_use_or_of_other_files_is_refused(tiny):
    with filelock.FileLock(tiny.out / ".lock"), pytest.raises(ValueError, match="nobody is working in"):
        train_once(tiny)
    (tiny.out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="which holds other files, such as thesis.txt"):
        train_once(tiny)


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_damaged_run_is_refused_and_trained_anew_when_its_folder_is_deleted(tiny, name):
    train_once(tiny)
    whole = outcome(tiny.out)
    (tiny.out / name).write_bytes(b'{"method": "no')
    with pytest.raises(
        ValueError, match=rf"{name}' is damaged: .*\. Delete the folder '{tiny.out}' and run the command"
    ):
        train_once(tiny)
    assert outcome(tiny.out) == whole
    shutil.rmtree(tiny.out)
    train_once(tiny)
    assert outcome(tiny.out) == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("summary.json", {what: value}) for what in ("error", "seconds") for value in (10**400, None, "x", [], True)),
        ("summary.json", {"error": 7.0}),
        ("summary.json", {"seed": 1}),
        *(("config.json", {"lr": value}) for value in (None, "x", float("nan"), [0.1])),
        ("metrics.csv", b""),
        ("predictions.npy", b"half"),
        ("env.json", b"{"),
    ],
)
def test_a_complete_run_is_only_said_to_be_so_if_its_files_are_whole(tiny, made, name, content):
    shutil.copytree(made, tiny.out)
    path = tiny.out / name
    path.write_bytes(content if type(content) is bytes else json.dumps(json.loads(path.read_text()) | content).encode())
    with pytest.raises(ValueError, match=rf"[dD]elete the folder '{tiny.out}' ") as refused:
        train_once(tiny)
    assert name in str(refused.value) or "holds runs with lr" in str(refused.value)
    shutil.rmtree(tiny.out)
    train_once(tiny)
    assert outcome(tiny.out) == outcome(made)


def test_a_damaged_checkpoint_is_refused(tiny):
    tiny.out.mkdir()
    (tiny.out / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"needs to be whole; '.*checkpoint.pt' is not"):
        train_once(tiny)


def test_a_checkpoint_whose_content_is_not_whole_is_refused_and_left_alone(tiny, monkeypatch):
    stopped_after(2, monkeypatch, lambda: train_once(tiny))
    path = tiny.out / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    for change in ({"model": {}}, {"epoch": 10**9}):
        torch.save(whole | {"state": whole["state"] | change}, path)
        with pytest.raises(ValueError, match=r"needs to be whole; '.*checkpoint.pt' is not\. Remove it, and start"):
            train_once(tiny)
        assert [path.name for path in tiny.out.iterdir()] == ["checkpoint.pt"]
    path.unlink()
    assert train_once(tiny).is_complete()


MODEL = """
import torch
def make_model(num_classes):
    # Without BatchNorm two halves of a batch give the gradient of the whole.
    layers = torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, num_classes)
    return torch.nn.Sequential(*layers)
"""


def python(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def command(folder, out, *more, devices=2):
    # 55 images are batches of 15, 15, 15 and 10: the shares of the devices differ.
    flags = ["--train-size", "55", "--epochs", "2", "--batch-size", "15", "--lr", "0.01", "--devices", str(devices)]
    named = ["--model", "convolution:make_model", *flags, "--out", out]
    return python(folder, "torchmoments_lab", "train", *named, *more)


@pytest.mark.parametrize(
    ("devices", "method"),
    [
        (2, "moex:norm=in,p=0.7,lam=0.6,partner=global,at=0"),
        pytest.param(4, "mixstyle:p=1,grad=both,partner=global,at=0+1", marks=pytest.mark.thorough),
    ],
)
def test_several_devices_train_what_one_does(tmp_path, monkeypatch, devices, method):
    (tmp_path / "convolution.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    one = Train().with_values(model="convolution:make_model", method=method, out=tmp_path / "one")
    train_once(one.with_values(train_size=55, epochs=2, batch_size=15, lr=0.01))
    done = command(tmp_path, "two", "--method", method, devices=devices)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written to") == 1
    one, two = (load_file(tmp_path / out / "weights.safetensors") for out in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4)
    metrics = [(tmp_path / out / "metrics.csv").read_text().splitlines()[2].split(",")[1:3] for out in ("one", "two")]
    assert np.array(metrics[1], float) == pytest.approx(np.array(metrics[0], float), rel=1e-4)


# In one process a rank, as the launcher starts them; each writes what it drew. With STOP_AFTER, the first one gets a
# SIGTERM in that step.
NOTED = """
import os, signal, torch
from torchmoments_lab.training import train
import torchmoments as tm
from torchmoments_lab.training.epochs import EpochLog
rank = os.environ.get("LOCAL_RANK", "0")
begin = EpochLog.begin
def noted_begin(self, epochs):
    open(f"log{rank}", "w").close()
    begin(self, epochs)
EpochLog.begin = noted_begin
step, draw = train.step, tm.Site.draw
def noted(site, *arguments, **options):
    site.drawn = draw(site, *arguments, **options)
    return site.drawn
tm.Site.draw = noted
steps = 0
def watched(model, criterion, site, *more):
    global steps
    steps += 1
    loss = step(model, criterion, site, *more)
    with open(f"draws{rank}", "a") as file:
        file.write(f"{'-' if site.drawn is None else site.drawn.draws['0'].partner.tolist()}\\n")
    if rank == "0" and steps == int(os.environ.get("STOP_AFTER", 0)):
        signal.raise_signal(signal.SIGTERM)
    return loss
train.step = watched
def make_model(num_classes):
    layers = torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Linear(288, num_classes))
"""


def test_two_devices_mix_by_their_own_draws_and_after_a_stop_in_an_epoch_give_the_same(tmp_path, monkeypatch):
    (tmp_path / "convolution.py").write_text(NOTED)

    def draws():
        return [(tmp_path / f"draws{rank}").read_text().splitlines() for rank in (0, 1)]

    mixed = ["--method", "moex:at=0", "--augment"]
    assert command(tmp_path, "whole", *mixed).returncode == 0
    # The first writes the epochs for both.
    assert [path.name for path in tmp_path.glob("log*")] == ["log0"]
    whole = draws()
    assert whole[0] != whole[1]
    with monkeypatch.context() as patch:
        patch.setenv("STOP_AFTER", "2")
        stopped = command(tmp_path, "stopped", *mixed)
    assert stopped.returncode == 143
    sentence = "Stopped. The last checkpoint is kept in stopped; rerun the command to resume."
    assert stopped.stderr.splitlines()[-1] == sentence
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["checkpoint.pt"]
    state = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["state"]
    # Four steps an epoch.
    assert (state["epoch"], state["begun"]["steps"]) == (0, 2)
    done = command(tmp_path, "stopped", *mixed)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    # No step was done twice.
    assert [len(of_rank) for of_rank in draws()] == [8 + 8, 8 + 8]


FLAGS_OF_TORCHRUN = ["--train-size", "40", "--epochs", "2", "--width", "4", "--method", "moex"]


@pytest.mark.parametrize("rank", [0, 1])
def test_another_number_of_processes_than_that_of_torchrun_is_refused_once(tmp_path, monkeypatch, call, rank):
    # What torchrun tells each process.
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, str(value))
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    code, said, complaint = call("train", *FLAGS_OF_TORCHRUN, "--out", str(tmp_path / "out"))
    assert (code, said) == (2, "")
    sentence = "devices needs the number of processes that torchrun has started, 2; got 1. Write --devices 2, or leave "
    assert complaint.count(sentence) == (rank == 0)
    # torchrun ends the others with the first that ends.
    assert waited == [cli._SECONDS_TO_SPEAK] * rank
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_processes_of_torchrun_are_the_devices_and_nothing_else(tmp_path):
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "-m", "torchmoments_lab", "train"]
    done = python(tmp_path, *torchrun, *FLAGS_OF_TORCHRUN, "--devices", "2", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written to") == 1
    assert (tmp_path / "out" / "summary.json").exists()


def test_sigterm_saves_the_steps_of_an_epoch_and_the_rest_gives_the_same(tmp_path):
    request = Train().with_values(train_size=500, batch_size=4, epochs=2, width=4, augment=True, device="cpu")
    flags = ["--train-size", "500", "--batch-size", "4", "--epochs", "2", "--width", "4", "--augment"]
    words = [sys.executable, "-m", "torchmoments_lab", "train", *flags, "--device", "cpu", "--out"]
    running = subprocess.Popen([*words, "stopped"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 90
    while not (tmp_path / "stopped" / ".metrics.csv").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 143
    assert said.splitlines()[-1] == "Stopped. The last checkpoint is kept in stopped; rerun the command to resume."
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["checkpoint.pt"]
    state = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["state"]
    assert (state["epoch"], state["begun"]["steps"] > 0) == (0, True)
    for out in ("stopped", "whole"):
        train_once(request.with_values(out=tmp_path / out))
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_rank_that_is_left_in_the_environment_changes_nothing(tiny, tmp_path, monkeypatch):
    train_once(tiny)
    monkeypatch.setenv("RANK", "1")
    again = tiny.with_values(out=tmp_path / "again")
    train_once(again)
    assert outcome(again.out) == outcome(tiny.out)


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process through /proc")
def test_the_death_of_a_process_is_one_sentence(tmp_path):
    flags = ["--train-size", "40", "--epochs", "100000", "--width", "4", "--devices", "2", "--method", "none"]
    running = subprocess.Popen(
        [sys.executable, "-m", "torchmoments_lab", "train", *flags, "--out", tmp_path / "out"],
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 90
    while not (tmp_path / "out" / "checkpoint.pt").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    (other,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(other), signal.SIGKILL)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        "the process of device 2 died of SIGKILL: it was killed, or out of memory. The last checkpoint is kept in "
        f"{tmp_path / 'out'}; rerun the command to resume."
    )


def test_a_folder_of_another_command_is_refused_and_left_alone(tiny):
    compare(
        Compare().with_values(train_size=50, epochs=1, width=4, methods=("none",), seeds=1, workers=1, out=tiny.out)
    )
    before = sorted(tiny.out.rglob("*"))
    with pytest.raises(ValueError, match="needs a new or empty folder, or one of `torchmoments train`"):
        train_once(tiny)
    assert sorted(tiny.out.rglob("*")) == before


def test_a_folder_of_another_program_is_refused(tiny):
    tiny.out.mkdir()
    (tiny.out / "config.json").write_text('{"architectures": ["ViT"]}')
    with pytest.raises(ValueError, match="holds other files, such as config.json"):
        train_once(tiny)


def test_the_folder_may_be_a_link_and_keeps_what_else_is_put_there(tiny, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    tiny.out.symlink_to(tmp_path / "disk")
    stopped_after(2, monkeypatch, lambda: train_once(tiny))
    (tiny.out / "notes.txt").write_text("mine")
    train_once(tiny)
    assert tiny.out.is_symlink()
    assert {"summary.json", "weights.safetensors", "notes.txt"} <= {path.name for path in tiny.out.iterdir()}
    assert not (tiny.out / "checkpoint.pt").exists()


def test_warm_up_is_refused_that_is_as_long_as_the_usual_epochs(tiny):
    with pytest.raises(ValueError, match="warmup_epochs needs fewer than the 80 epochs; got 80"):
        train_once(tiny.with_values(epochs=None, warmup_epochs=80))
