"""What is said before anything is trained, and a dry run, which only says it."""

import shutil

import pytest

from torchmoments_lab import forecast as forecasts
from torchmoments_lab import single
from torchmoments_lab.comparison import compare
from torchmoments_lab.probe.probe import probe
from torchmoments_lab.requests import Compare, Probe, Sweep, Train
from torchmoments_lab.single import train_once
from torchmoments_lab.sweep.sweep import sweep
from torchmoments_lab.training.timing import Cost

# They train.
pytestmark = pytest.mark.slow

FEW = {"train_size": 50, "epochs": 2, "width": 4}
COMPARE = Compare().with_values(**FEW, methods=("none", "moex"), seeds=3, workers=2)
DRY = "That was a dry run: nothing was trained or written."


@pytest.fixture(autouse=True)
def costs(monkeypatch):
    """A step takes half a minute, a test image no time; gives the experiments that were timed."""
    timed = []

    def cost(found, method, **more):
        timed.append(found)
        return Cost(30.0, 0.0)

    monkeypatch.setattr(forecasts, "cost_of", cost)
    monkeypatch.setattr(single, "cost_of", cost)
    return timed


def told(function, request):
    """What a dry run says last but one."""
    notices = []
    assert function(request.with_values(dry_run=True), notice=notices.append) is None
    assert notices[-1] == DRY
    return notices[-2]


def test_a_comparison_says_what_is_trained_where_and_how_long(tmp_path):
    assert told(compare, COMPARE.with_values(out=tmp_path / "out")) == (
        "6 runs (2 methods x 3 seeds): small, 5,142 parameters, 50 training images, 2 epochs of 1 step; on cpu, 2 at a "
        "time. They take about 3 min."
    )


def test_only_what_is_missing_takes_time(tmp_path, costs):
    request = COMPARE.with_values(out=tmp_path / "out", workers=1)
    compare(request.with_values(seeds=2))
    sentence = told(compare, request)
    assert sentence.startswith("6 runs (2 methods x 3 seeds), 4 of them complete already: small, ")
    assert sentence.endswith("; on cpu, 1 at a time. The other 2 take about 2 min.")
    costs.clear()
    assert told(compare, request.with_values(seeds=2)) == "4 runs (2 methods x 2 seeds), all complete already."
    assert costs == []


def test_runs_that_are_more_than_workers_take_turns(tmp_path):
    # Three runs of a minute, two at a time.
    request = COMPARE.with_values(out=tmp_path / "out", seeds=1, methods=("none", "moex", "labels"))
    assert told(compare, request).endswith("They take about 2 min.")


def test_without_a_cost_nothing_is_said_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(forecasts, "cost_of", lambda *arguments, **options: None)
    assert told(compare, COMPARE.with_values(out=tmp_path / "out")).endswith("on cpu, 2 at a time.")


def test_a_plan_says_that_more_may_follow(tmp_path):
    sentence = told(compare, COMPARE.with_values(out=tmp_path / "out", seeds="3..12"))
    assert sentence.startswith("6 runs (2 methods x 3 seeds): ")
    assert sentence.endswith(" More seeds follow, up to 12, unless these decide it.")


def test_a_sweep_times_a_step_once_for_each_kind(tmp_path, costs):
    grid = ("p=0.5/1", "train_size=50/100", "lr=0.1/0.01", "width=4/8")
    sentence = told(sweep, Sweep().with_values(train_size=50, epochs=2, grid=grid, seeds=1, workers=1, out=tmp_path))
    assert sentence == (
        "32 runs (32 combinations x 1 seed): small, 5,142 to 19,810 parameters, 50 to 100 training images, 2 epochs of "
        "1 to 2 steps; on cpu, 1 at a time. They take about 50 min."
    )
    assert [found.network.settings.width for found in costs] == [4, 8]


def test_a_probe_counts_its_views(tmp_path):
    request = Probe().with_values(**FEW, norms=("pono",), seeds=2, workers=1, out=tmp_path / "out")
    assert told(probe, request).startswith("8 runs (4 trainings x 2 seeds): small, ")
    assert told(probe, request.with_values(trained=False)).startswith("6 runs (3 trainings x 2 seeds): small, ")


def test_one_run_says_it_too(tmp_path):
    request = Train().with_values(**FEW, seed=7, threads=2, out=tmp_path / "out")
    assert told(train_once, request) == (
        "moex seed 7: small, 5,142 parameters, 50 training images, 2 epochs of 1 step; on cpu, 2 threads each. That "
        "takes about 1 min."
    )


COMMANDS = {
    compare: COMPARE.with_values(seeds=1, workers=1),
    sweep: Sweep().with_values(**FEW, grid=("p=0.5/1",), seeds=1, workers=1),
    probe: Probe().with_values(**FEW, norms=("pono",), seeds=1, workers=1),
    train_once: Train().with_values(**FEW),
}


def files(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("function", COMMANDS, ids=lambda function: function.__name__)
def test_a_dry_run_writes_nothing_and_refuses_what_the_command_would(tmp_path, function):
    request = COMMANDS[function].with_values(out=tmp_path / "out")
    told(function, request)
    assert list(tmp_path.iterdir()) == []
    function(request)
    # Half-made files are left to those who make them.
    (request.out / ".metrics.csv").touch()
    before = files(tmp_path)
    if function is train_once:
        notices = []
        assert function(request.with_values(dry_run=True), notice=notices.append) is None
        assert notices[-1] == f"This run is complete in {request.out}."
    else:
        assert told(function, request).endswith(", all complete already.")
    with pytest.raises(ValueError, match=r"holds runs with batch_size 50 \(got 20\)"):
        function(request.with_values(dry_run=True, batch_size=20))
    assert files(tmp_path) == before
    shutil.rmtree(request.out)
    request.out.mkdir()
    (request.out / "thesis.txt").touch()
    with pytest.raises(ValueError, match="which holds other files, such as thesis.txt"):
        function(request.with_values(dry_run=True))
    assert [path.name for path in request.out.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("command", ["compare", "sweep", "probe", "train"])
def test_what_a_dry_run_says_is_the_result_of_the_command(tmp_path, call, command):
    flags = [] if command == "train" else ["--seeds", "1", "--workers", "1"]
    flags += ["--train-size", "50", "--epochs", "2", "--width", "4", "--dry-run", "--out", str(tmp_path / "out")]
    code, said, complaint = call(command, *flags)
    assert (code, complaint) == (0, "")
    assert " ".join(said.split()).endswith(DRY)
    assert list(tmp_path.iterdir()) == []


def test_neither_a_dry_run_nor_tensorboard_is_a_setting_of_the_runs(tmp_path, monkeypatch):
    # All runs are complete when it would be needed.
    monkeypatch.setattr("torchmoments_lab.settings.execution.find_spec", lambda name: name)
    request = COMMANDS[sweep].with_values(out=tmp_path / "out")
    sweep(request)
    before = (request.out / "sweep.json").read_bytes()
    summary = sweep(request.with_values(tensorboard=True))
    assert (request.out / "sweep.json").read_bytes() == before
    assert "tensorboard" not in " ".join(summary.conclusion)
    record = (request.out / "comparison" / "comparison.json").read_text()
    assert "--no-nesterov" not in record
    assert "--nesterov" in record
    assert "tensorboard" not in record
    assert "dry-run" not in record


def test_tensorboard_that_is_not_installed_is_refused_with_its_extra(refused, monkeypatch):
    monkeypatch.setattr("torchmoments_lab.settings.execution.find_spec", lambda name: None)
    for command in ("compare", "sweep", "probe", "train"):
        assert "Install it with: pip install 'torchmoments[tensorboard]'" in refused(command, "--tensorboard")
