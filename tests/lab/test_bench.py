"""The benchmarks: rows, figures, refusals. Times themselves are not tested."""

import csv
import json
import subprocess
import sys
import time

import pytest
import torch

import torchmoments as tm
from torchmoments_lab.bench import clock, figure, op, rows, run, step
from torchmoments_lab.bench.config import Op, Step
from torchmoments_lab.cli import main

TINY_OP = {"shapes": ("4x6x5x5",), "contestants": ("published", "reference", "eager"), "repeats": 3}
TINY_STEP = {"batch": 8, "repeats": 3, "others": ("timm-cutmix", "torchvision-mixup")}


@pytest.fixture(autouse=True)
def small_inputs(monkeypatch):
    monkeypatch.setattr(clock, "cache_bytes", lambda device: 2**12)
    monkeypatch.setattr(op, "cache_bytes", lambda device: 2**12)
    monkeypatch.setattr(step, "cache_bytes", lambda device: 2**12)


def test_op_gives_a_row_for_each_case_contestant_and_direction(tmp_path):
    found = list(run(Op(**TINY_OP, out=tmp_path / "op.csv")))
    assert len(found) == 2 * 2 * 3 * 3
    with (tmp_path / "op.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["ms"] for row in written] == [str(row["ms"]) for row in found]
    for row in found:
        assert 0 < row["ms_q1"] <= row["ms"] <= row["ms_q3"]
        assert row["torch"] == torch.__version__
        # x and y forward; x, g and dx backward
        assert row["least_bytes"] == {"forward": 2, "backward": 3, "both": 5}[row["direction"]] * 4 * 6 * 5 * 5 * 4
        assert row["share_of_copy"] == pytest.approx(
            row["least_bytes"] / (row["ms"] / 1e3) / (row["copy_gb_per_s"] * 1e9), rel=0.2
        )
    assert (tmp_path / "op.png").stat().st_size > 5000


def test_rows_of_a_second_time_are_added(tmp_path):
    config = Op(**{**TINY_OP, "norms": ("pono",), "layouts": ("contiguous",)}, out=tmp_path / "op.csv")
    for _ in range(2):
        list(run(config))
    assert len(rows.read(config.out)) == 2 * 9


def test_a_figure_keeps_apart_what_ran_differently(tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "_save", lambda drawn, path: titles.extend(a.get_title("left") for a in drawn.axes))
    config = Op(**{**TINY_OP, "norms": ("pono",), "layouts": ("contiguous",)}, out=tmp_path / "op.csv")
    titles = []
    for thread_count, malloc in ((1, ""), (2, ""), (2, "MALLOC_MMAP_MAX_=0")):
        settings = {"threads": thread_count, "malloc": malloc, "clock": "cpu"}
        monkeypatch.setattr(
            op, "machine", lambda *_, settings=settings: rows.machine(torch.device("cpu"), "") | settings
        )
        titles.clear()
        list(run(config))
    case = "4x6x5x5, float32"
    assert titles == [
        f"{case}\n1 thread, CPU time",
        f"{case}\n2 threads, CPU time",
        f"{case}\n2 threads, CPU time\nMALLOC_MMAP_MAX_=0",
    ]


def test_a_wrong_contestant_is_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(op, "published", lambda x, partner, norm: x[partner])
    with pytest.raises(RuntimeError, match="published is wrong for norm='pono'.*value off"):
        list(run(Op(**TINY_OP, out=tmp_path / "op.csv")))
    assert rows.read(tmp_path / "op.csv") == []


def test_a_wrong_gradient_is_not_timed(tmp_path, monkeypatch):
    right = op.published
    monkeypatch.setattr(op, "published", lambda x, partner, norm: right(x, partner, norm).detach() + 0 * x)
    with pytest.raises(RuntimeError, match="gradient off"):
        list(run(Op(**TINY_OP, out=tmp_path / "op.csv")))


def test_inputs_take_turns_and_are_never_zero():
    pool = op._Pool((4, 6, 5, 5), torch.float32, "channels_last", torch.device("cpu"))
    assert sum(x.numel() * 4 for x in pool.xs) >= 2 * 2**12
    for tensor in (*pool.xs, *pool.gs):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert tensor.abs().min() > 0


def test_peak_memory_counts_what_is_held_at_once():
    x = torch.randn(1000)
    assert clock.peak_bytes(lambda: x + 1, torch.device("cpu")) == pytest.approx(4000, abs=100)
    assert clock.peak_bytes(lambda: (x + 1) * 2, torch.device("cpu")) == pytest.approx(8000, abs=100)


def test_contestants_take_turns():
    order = []
    calls = {name: lambda number, n=name: (lambda: order.append(n),) for name in "ab"}
    seconds = clock.interleaved(calls, 6, torch.device("cpu"))
    assert [set(order[k : k + 2]) for k in range(0, 14, 2)] == [{"a", "b"}] * 7
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 6, "b": 6}


def test_step_gives_ratios_to_plain(tmp_path):
    pytest.importorskip("timm")
    config = Step(**TINY_STEP, methods=("none", "moex", "labels"), out=tmp_path / "step.csv")
    found = {row["contestant"]: row for row in run(config)}
    assert list(found) == ["plain", "moex", "labels", "timm-cutmix", "torchvision-mixup"]
    assert found["plain"]["ratio"] == found["plain"]["peak_ratio"] == 1.0
    assert all(row["ratio"] > 0 and row["peak_extra_bytes"] > 0 for row in found.values())
    assert (tmp_path / "step.png").stat().st_size > 5000


def test_step_knows_the_least_that_a_change_of_features_costs(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    multiplied = []
    right = step._multiply
    monkeypatch.setattr(step, "_multiply", lambda *call: multiplied.append(call[0]) or right(*call))
    config = Step(
        **{**TINY_STEP, "others": ("multiply",)}, methods=("moex:at=layer1", "labels"), out=tmp_path / "s.csv"
    )
    found = list(run(config))
    assert [row["contestant"] for row in found] == ["plain", "moex:at=layer1", "labels", "multiply"]
    assert {type(module).__name__ for module in multiplied} == {"Block"}
    assert {row["malloc"] for row in found} == {"MALLOC_ARENA_MAX=2"}


def test_step_mixes_the_images_too_where_the_method_does(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    seen = {}

    def watched(criterion, output, target, *plans):
        seen[target.shape] = plans
        return right(criterion, output, target, *plans)

    right = tm.mixed_loss
    monkeypatch.setattr(tm, "mixed_loss", watched, raising=False)
    words = ("cutmix+moex:p=0.1", "mixup:p=0.1", "smooth", "moex:partner=same-group")
    config = Step(**{**TINY_STEP, "others": ()}, methods=words, out=tmp_path / "step.csv")
    assert [row["contestant"] for row in run(config)] == ["plain", *words]
    # Soft labels of 8 images, and a plan for the features; class indices for the method without images.
    assert set(seen) == {(8, 10), (8,)}
    assert all(plan is not None for plans in seen.values() for plan in plans)


def test_a_step_that_does_not_train_is_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(step.Plain, "__call__", lambda self, model, x, y: model(x).sum() * 0)
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: None)
    with pytest.raises(RuntimeError, match="does not train"):
        list(run(Step(**TINY_STEP, out=tmp_path / "step.csv")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["op", "--shapes", "64"], "shapes needs sizes such as 64x64x56x56; got '64'"),
        (["op", "--contestants", "fast"], "contestants needs some of published"),
        (["op", "--repeats", "1"], "repeats needs at least 3"),
        (["op", "--clock", "sun"], "clock needs some of wall, cpu"),
        (["step", "--model", "resnet"], "model needs the name of a model"),
        (["step", "--batch", "1"], "batch needs at least 2"),
        (["step", "--precision", "8"], "precision needs some of 32, bf16-mixed, 16-mixed"),
        (["step", "--methods", "meox"], "Nearest: 'moex'"),
        (["step", "--out", "/proc/no/step.csv"], "out needs a file that can be written"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "op", "--device", "cuda", "--out", str(tmp_path / "op.csv")]) == 2
    assert "Write --device cpu" in capsys.readouterr().err


def test_a_file_of_something_else_is_kept(tmp_path, capsys):
    (tmp_path / "op.csv").write_text("name,grade\nme,1\n")
    arguments = [
        "op",
        "--shapes",
        "4x6x5x5",
        "--contestants",
        "eager",
        "--repeats",
        "3",
        "--out",
        str(tmp_path / "op.csv"),
    ]
    assert main(["bench", *arguments]) == 2
    assert "has other columns" in capsys.readouterr().err
    assert (tmp_path / "op.csv").read_text() == "name,grade\nme,1\n"


def test_it_measures_with_torch_alone(tmp_path):
    lab = ["tyro", "matplotlib", "sklearn", "rich", "filelock", "joblib", "scipy"]
    program = f"""
import sys
sys.modules.update(dict.fromkeys({lab!r}))
from torchmoments_lab.bench.__main__ import main
sys.exit(main(["step", "--batch", "4", "--repeats", "3", "--others", "--out", {str(tmp_path / "s.csv")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "profiler" not in done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["contestant"] for row in printed] == ["plain", "moex"]
    assert len(rows.read(tmp_path / "s.csv")) == 2


def test_a_place_without_a_plan_costs_a_few_microseconds():
    """Of the CPU's time, so that a busy machine does not matter; a thousandth of the smallest step."""
    model = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(100)))
    x = torch.randn(2, 3, 4, 4)

    def seconds():
        return min(sum(clock._on_cpu([lambda: model(x)], time.process_time)) for _ in range(50))

    plain = seconds()
    site = tm.attach(model, tm.MoEx(p=0.0), at="*", seed=0)
    with site.mixing(2) as plan:
        assert plan is None
        attached = seconds()
    assert (attached - plain) / 100 < 1e-5
