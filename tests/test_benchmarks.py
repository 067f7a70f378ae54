"""The benchmarks: rows, figures, refusals. Times themselves are not tested."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import torchmoments as tm

pytest.importorskip("matplotlib")
import figures
import op
import step
import timing

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY_OP = ["--shapes", "4x6x5x5", "--contestants", "published", "reference", "eager", "--repeats", "3"]
ONE_OP = [*TINY_OP, "--norms", "pono", "--layouts", "contiguous"]
TINY_STEP = ["--batch", "8", "--repeats", "3"]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_inputs(monkeypatch):
    monkeypatch.setattr(timing, "cache_bytes", lambda device: 2**12)


@pytest.fixture
def rows(tmp_path):
    """Runs a benchmark; gives the rows of its CSV."""

    def rows(benchmark, *arguments):
        out = tmp_path / "rows.csv"
        benchmark.main([*arguments, "--device", "cpu", "--out", str(out)])
        return read(out)

    return rows


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def columns(result):
    return list(read(BENCHMARKS.parent / "results" / f"{result}.csv")[0])


def numbers(row, *names):
    return [float(row[name]) for name in names]


def test_op_gives_a_row_for_each_case_contestant_and_direction(rows, tmp_path, capsys):
    found = rows(op, *TINY_OP)
    assert list(found[0]) == columns("bench-op-cpu") == columns("bench-op-gpu")
    assert len(found) == 2 * 2 * 3 * 3 == len(capsys.readouterr().out.splitlines())
    for row in found:
        lower, middle, upper = numbers(row, "ms_q1", "ms", "ms_q3")
        assert 0 < lower <= middle <= upper
        assert row["torch"] == torch.__version__
        # x and y forward; x, g and dx backward
        least, speed, share = numbers(row, "least_bytes", "copy_gb_per_s", "share_of_copy")
        assert least == {"forward": 2, "backward": 3, "both": 5}[row["direction"]] * 4 * 6 * 5 * 5 * 4
        assert share == pytest.approx(least / (middle / 1e3) / (speed * 1e9), rel=0.2)
    assert (tmp_path / "rows.png").stat().st_size > 5000


def test_rows_of_a_second_time_are_added(rows):
    first = rows(op, *ONE_OP)
    both = rows(op, *ONE_OP)
    assert both[:9] == first
    assert len(both) == 2 * 9


def test_a_figure_keeps_apart_what_ran_differently_and_draws_the_newest(rows):
    found = rows(op, *ONE_OP)
    settings = [("1", ""), ("2", ""), ("2", "MALLOC_MMAP_MAX_=0")]
    other = [
        row | {"threads": threads, "malloc": malloc, "clock": "cpu", "share_of_copy": share}
        for threads, malloc in settings
        for share in ("0.1", "0.5")
        for row in found
    ]
    drawn = figures.draw_op(other)
    case = "4x6x5x5, float32"
    assert [axes.get_title("left") for axes in drawn.axes] == [
        f"{case}\n1 thread, CPU time",
        f"{case}\n2 threads, CPU time",
        f"{case}\n2 threads, CPU time\nMALLOC_MMAP_MAX_=0",
    ]
    assert all(bar.get_width() == 2 for axes in drawn.axes for bar in axes.patches)


def test_the_figure_of_a_step_shows_its_ratio_to_plain(rows):
    plain, moex = rows(step, *TINY_STEP, "--others")
    (axes,) = figures.draw_step([plain, moex | {"ratio": "1.5"}]).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["moex"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda x, partner, norm: x[partner], "published is wrong for norm='pono'.*value off"),
        (lambda x, partner, norm: op_published(x, partner, norm).detach() + 0 * x, "gradient off"),
    ],
)
def test_a_wrong_contestant_is_not_timed(rows, tmp_path, monkeypatch, wrong, sentence):
    monkeypatch.setattr(op, "published", wrong)
    with pytest.raises(RuntimeError, match=sentence):
        rows(op, *TINY_OP)
    assert not (tmp_path / "rows.csv").exists()


op_published = op.published


def test_inputs_take_turns_and_are_never_zero():
    inputs = op.Inputs((4, 6, 5, 5), torch.float32, "channels_last", CPU)
    assert sum(x.nbytes for x in inputs.xs) >= 2 * 2**12
    for tensor in (*inputs.xs, *inputs.gs):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert tensor.abs().min() > 0


def test_peak_memory_counts_what_is_held_at_once():
    x = torch.randn(1000)
    assert timing.peak_bytes(lambda: x + 1, CPU) == pytest.approx(4000, abs=100)
    assert timing.peak_bytes(lambda: (x + 1) * 2, CPU) == pytest.approx(8000, abs=100)


def test_contestants_take_turns():
    order = []
    calls = {name: lambda number, n=name: (lambda: order.append(n),) for name in "ab"}
    seconds = timing.interleaved(calls, 6, CPU)
    assert [set(order[k : k + 2]) for k in range(0, 14, 2)] == [{"a", "b"}] * 7
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 6, "b": 6}


def test_step_gives_ratios_to_plain(rows, tmp_path):
    pytest.importorskip("timm")
    others = ["timm-cutmix", "torchvision-mixup"]
    found = rows(step, *TINY_STEP, "--methods", "none", "moex", "labels", "--others", *others)
    assert list(found[0]) == columns("bench-step-cpu") == columns("bench-step-gpu")
    assert [row["contestant"] for row in found] == ["plain", "moex", "labels", *others]
    assert numbers(found[0], "ratio", "peak_ratio") == [1, 1]
    assert all(min(numbers(row, "ratio", "peak_extra_bytes")) > 0 for row in found)
    assert (tmp_path / "rows.png").stat().st_size > 5000


def test_step_knows_the_least_that_a_change_of_features_costs(rows, monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    multiplied = []
    right = step.multiply
    monkeypatch.setattr(step, "multiply", lambda *call: multiplied.append(call[0]) or right(*call))
    found = rows(step, *TINY_STEP, "--methods", "moex:at=layer1", "labels", "--others", "multiply")
    assert [row["contestant"] for row in found] == ["plain", "moex:at=layer1", "labels", "multiply"]
    assert {type(module).__name__ for module in multiplied} == {"Block"}
    assert {row["malloc"] for row in found} == {"MALLOC_ARENA_MAX=2"}


def test_step_mixes_the_images_too_where_the_method_does(rows, monkeypatch):
    pytest.importorskip("torchvision")
    seen = {}

    def watched(criterion, output, target, *plans):
        seen[target.shape] = plans
        return right(criterion, output, target, *plans)

    right = tm.mixed_loss
    monkeypatch.setattr(tm, "mixed_loss", watched)
    methods = ["cutmix+moex:p=0.1", "mixup:p=0.1", "smooth", "moex:partner=same-group"]
    found = rows(step, *TINY_STEP, "--methods", *methods, "--others")
    assert [row["contestant"] for row in found] == ["plain", *methods]
    # Soft labels of 8 images, and a plan for the features; class indices for the method without images.
    assert set(seen) == {(8, 10), (8,)}
    assert all(plan is not None for plans in seen.values() for plan in plans)


def test_a_step_that_does_not_train_is_not_timed(rows, monkeypatch):
    monkeypatch.setattr(step, "plain", lambda model, x, y: model(x).sum() * 0)
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: None)
    with pytest.raises(RuntimeError, match="does not train"):
        rows(step, *TINY_STEP)


@pytest.mark.parametrize(
    ("benchmark", "arguments", "sentence"),
    [
        (op, ["--shapes", "64"], "needs sizes such as 64x64x56x56; got '64'"),
        (op, ["--contestants", "fast"], "invalid choice: 'fast'"),
        (op, ["--repeats", "1"], "--repeats needs at least 3"),
        (step, ["--model", "resnet"], "model needs the name of a model"),
        (step, ["--batch", "1"], "--batch needs at least 2"),
        (step, ["--methods", "meox"], "Nearest: 'moex'"),
        (step, ["--out", "/proc/no/step.csv"], "--out needs a file that can be written"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(
    tmp_path, capsys, monkeypatch, benchmark, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_gpu_that_is_not_there_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        op.main(["--device", "cuda"])
    assert "Write --device cpu" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["name,grade", "contestant,model,batch"])
def test_a_file_of_something_else_is_kept(tmp_path, capsys, header):
    (tmp_path / "op.csv").write_text(f"{header}\nme,1\n")
    with pytest.raises(SystemExit, match="2"):
        op.main([*TINY_OP, "--out", str(tmp_path / "op.csv")])
    assert "has other columns" in capsys.readouterr().err
    assert (tmp_path / "op.csv").read_text() == f"{header}\nme,1\n"


@pytest.mark.slow
@pytest.mark.thorough
def test_they_measure_with_torch_alone(tmp_path):
    lab = ["tyro", "matplotlib", "sklearn", "rich", "filelock", "joblib", "scipy"]
    program = f"""
import sys
sys.modules.update(dict.fromkeys({lab!r}))
import op, step
assert "torchmoments_lab" not in sys.modules
step.main(["--batch", "4", "--repeats", "3", "--others", "--out", {str(tmp_path / "s.csv")!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "profil" not in done.stderr
    assert [row["contestant"] for row in read(tmp_path / "s.csv")] == ["plain", "moex"]


def test_a_place_without_a_plan_costs_a_few_microseconds():
    """Of the CPU's time, so that a busy machine does not matter; a thousandth of the smallest step."""
    model = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(100)))
    x = torch.randn(2, 3, 4, 4)

    def seconds():
        return min(sum(timing.on_cpu([lambda: model(x)], time.process_time)) for _ in range(50))

    plain = seconds()
    site = tm.attach(model, tm.MoEx(p=0.0), at="*", seed=0)
    with site.mixing(2) as plan:
        assert plan is None
        attached = seconds()
    assert (attached - plain) / 100 < 1e-5
