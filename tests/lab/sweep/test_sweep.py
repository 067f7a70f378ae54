"""A sweep's folder and what its summary says, on trainings of a second."""

import csv
import json
from dataclasses import replace
from urllib.parse import unquote

import filelock
import numpy as np
import pytest
from scipy import stats

from torchmoments_lab import resolve as door
from torchmoments_lab import runs as run_folders
from torchmoments_lab.cli import main
from torchmoments_lab.report.records import read_summary
from torchmoments_lab.report.runs import Comparison, Plan, RunRecord
from torchmoments_lab.requests import Sweep as Request
from torchmoments_lab.sweep.report import sentences
from torchmoments_lab.sweep.summary import Outcome, Sweep, summarize
from torchmoments_lab.sweep.sweep import sweep
from torchmoments_lab.training.epochs import Epoch
from torchmoments_lab.training.train import Result

# They train.
pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(tmp_path):
    return Request().with_values(
        train_size=50, epochs=2, width=4, grid=("p=0.5/1",), controls=(), seeds=2, workers=1, out=tmp_path / "sweep"
    )


def summaries(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/seed*/summary.json")}


def error(out, word, seed):
    (path,) = out.glob(f"*/runs/{word}/seed{seed}/summary.json")
    return json.loads(path.read_text())["error"]


@pytest.mark.drawn
def test_the_numbers_are_those_of_the_runs_paired_by_seed(tiny):
    summary = sweep(tiny.with_values(controls=("labels",)))
    assert read_summary(tiny.out / "summary.json") == summary
    words = ["moex:p=0.5", "moex:p=1"]
    assert [(cell.values, cell.method) for cell in summary.cells] == [({"p": w[7:]}, w) for w in words]
    for cell in summary.cells:
        errors = [error(tiny.out, cell.method.replace(":", "%3A"), seed) for seed in (0, 1)]
        plain = [error(tiny.out, "none", seed) for seed in (0, 1)]
        assert cell.error.mean == pytest.approx(np.mean(errors))
        assert cell.difference.mean == pytest.approx(np.mean(np.subtract(errors, plain)))
        assert cell.error.n == 2
    assert summary.references[0].error.mean == pytest.approx(np.mean(plain))
    assert [control.method for control in summary.controls] == ["labels"]
    with (tiny.out / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {(row["method_spec"], row["p"]) for row in rows} == {
        ("none", ""), ("labels", ""), ("moex:p=0.5", "0.5"), ("moex:p=1", "1"),
    }  # fmt: skip
    assert float(rows[0]["error"]) == plain[0]
    assert (tiny.out / "sweep.png").stat().st_size > 5000
    assert "minus none" in (tiny.out / "report.md").read_text()


def test_the_lowest_mean_error_is_the_best(tiny):
    summary = sweep(tiny)
    lowest = min(summary.cells, key=lambda cell: cell.error.mean)
    assert summary.best.values == lowest.values
    command = summary.conclusion[1].partition("torchmoments ")[2]
    assert main(command.split()) == 0
    judged = json.loads((tiny.out.with_name("sweep-test") / "comparison.json").read_text())
    swept = json.loads((tiny.out / "comparison" / "comparison.json").read_text())
    assert judged["methods"] == ["none", summary.best.method]
    different = {name for name, value in swept["settings"].items() if judged["settings"][name] != value}
    assert different == {"evaluate", "images", "classes"}


def of_errors(errors, **axis):
    """A method's outcome with these {seed: error}, as of a single image."""
    runs = {
        seed: RunRecord("m", seed, 1.0, {}, {}, np.zeros(1, [("target", int)]), {"error": np.array([error])}, {})
        for seed, error in errors.items()
    }
    (value,) = axis.values() or ("none",)
    return Outcome(f"moex:p={value}" if axis else "none", {}, axis or None, runs)


def swept(plain, errors):
    """The summary of a sweep of p with these {p: {seed: error}}."""
    outcomes = [of_errors(of, p=p) for p, of in errors.items()]
    comparison = Comparison("comparison", {}, (), {"none": {}}, (), Plan())
    return summarize(Sweep({"p": tuple(errors)}, "none", [of_errors(plain)], outcomes, [comparison]))


@pytest.mark.parametrize(("t", "not_worse"), [(2.0, ({"p": "0.5"}, {"p": "1"})), (2.3, ())])
def test_the_best_is_compared_as_one_that_was_chosen_among_all(t, not_worse):
    """t = 2 with 9 degrees of freedom has a one-sided p of 0.04, which is not enough for two rivals."""
    random = np.random.default_rng(0)
    best, *rivals = random.normal(size=(3, 200_000))
    scale = (2 * random.chisquare(9, 200_000) / 9) ** 0.5
    assert 2.05 < np.quantile(np.maximum(*[(rival - best) / scale for rival in rivals]), 0.95) < 2.25
    around = np.array([-3, -2, -1, 0, 0, 0, 0, 1, 2, 3])
    spread = np.sqrt(10) / t / around.std(ddof=1)
    errors = {"0": 0 * around, "0.5": 1 + spread * around, "1": 1 - spread * around}
    assert stats.ttest_1samp(errors["1"], 0, alternative="greater").statistic == pytest.approx(t)
    found = swept(dict.fromkeys(range(10), 2.0), {p: dict(enumerate(map(float, of))) for p, of in errors.items()})
    assert found.best.values == {"p": "0"}
    assert (found.best.rivals, found.best.not_worse) == (2, not_worse)


@pytest.mark.parametrize(("seeds", "told"), [(1, True), (2, True), (3, False)])
def test_that_intervals_need_three_seeds_is_told(seeds, told):
    summary = swept(dict.fromkeys(range(seeds), 2.0), {p: {s: 1.0 + s for s in range(seeds)} for p in ("0", "1")})
    assert ("No difference can be shown: intervals and p need three seeds or more." in sentences(summary)) == told


def test_the_conclusion_says_how_many_are_worse(tiny):
    summary = sweep(tiny.with_values(seeds=1))
    for rivals, alike, sentence in [
        (1, 0, "The other training is shown to be worse."),
        (1, 1, "The other training is not shown to be worse."),
        (7, 0, "Each of the other 7 trainings is shown to be worse."),
        (7, 7, "None of the other 7 trainings is shown to be worse."),
        (7, 6, "1 of the other 7 trainings is shown to be worse."),
        (7, 1, "6 of the other 7 trainings are shown to be worse; 0 both is not."),
        (7, 3, "4 of the other 7 trainings are shown to be worse; 0 both, 1 both and 2 both are not."),
    ]:
        not_worse = tuple({"lam": str(number), "grad": "both"} for number in range(alike))
        best = replace(summary.best, rivals=rivals, not_worse=not_worse)
        assert sentence in sentences(replace(summary, best=best))[0]


@pytest.mark.parametrize(
    ("shift", "sentence"),
    [
        (0.0, "It ties with none: no difference from it is shown."),
        (-5.0, "It is shown to be better than none."),
        (5.0, "It is shown to be worse than none."),
    ],
)
def test_a_winner_is_compared_with_the_reference_too(shift, sentence):
    around = [-1.0, 0.5, 0.5, 1.0, -1.0]
    errors = {seed: 10 + shift + value for seed, value in enumerate(around)}
    found = swept(dict.fromkeys(range(5), 10.0), {"0.5": errors, "1": {s: e + 20 for s, e in errors.items()}})
    assert sentence in sentences(found)[0]


def test_a_winner_is_not_compared_with_the_reference_without_intervals(tiny):
    (first, *_) = sentences(sweep(tiny.with_values(seeds=1)))
    assert "ties" not in first
    assert "It is shown" not in first


def test_it_is_judged_on_training_images_and_the_test_images_are_not_there(tiny):
    sweep(tiny.with_values(seeds=1))
    held_out = door.load_data(tiny.data, tiny.judging)
    (path, *others) = sorted(tiny.out.glob("*/runs/*/seed0/predictions.npy"))
    targets = np.load(path)["target"]
    assert len(targets) == 100
    assert np.array_equal(targets, held_out.test.labels.numpy())
    assert all(np.array_equal(np.load(other)["target"], targets) for other in others)


def test_data_is_read_once_for_all_training_settings(tiny, monkeypatch):
    read, load = [], door.load
    monkeypatch.setattr(door, "load", lambda config: read.append(config.data) or load(config))
    sweep(tiny.with_values(seeds=1, grid=("epochs=1/2/3",)))
    assert read == ["digits"]


def test_with_evaluate_test_it_is_judged_on_the_test_images(tiny):
    summary = sweep(tiny.with_values(seeds=1, evaluate="test"))
    assert summary.images == 1297
    assert not any("looks better" in sentence for sentence in summary.conclusion)


def test_complete_runs_are_left_alone_and_values_axes_and_seeds_may_be_added(tiny):
    sweep(tiny)
    before = summaries(tiny.out)
    seen = []
    wider = tiny.with_values(grid=("lam=0.9/0.5", "p=0.5/1"), seeds=2)
    summary = sweep(wider, seen.append)
    assert (seen[0].done, seen[0].total) == (6, 10)
    after = summaries(tiny.out)
    assert {path: after[path] for path in before} == before
    # lam=0.9 is the default: the runs of the first sweep, under their old word.
    assert summary.cells[0].error.mean == pytest.approx(
        np.mean([error(tiny.out, "moex%3Ap=0.5", seed) for seed in (0, 1)])
    )
    assert len(json.loads((tiny.out / "sweep.json").read_text())["requests"]) == 2
    again = []
    sweep(wider, again.append)
    assert [(progress.done, progress.total) for progress in again] == [(10, 10)]
    assert summaries(tiny.out) == after


def test_a_cell_that_equals_the_reference_is_trained_once(tiny):
    summary = sweep(tiny.with_values(reference="moex", grid=("lam=0.9/0.1",), epochs=8))
    assert len(summaries(tiny.out)) == 4
    assert [cell.difference.mean == 0 for cell in summary.cells] == [True, False]


def test_training_settings_are_paired_with_the_reference_of_their_own(tiny):
    summary = sweep(tiny.with_values(grid=("train_size=50/100", "method=moex"), steps=4, epochs=None))
    assert [entry.values for entry in summary.references] == [{"train_size": "50"}, {"train_size": "100"}]
    assert [cell.values["train_size"] for cell in summary.cells] == ["50", "100"]
    for cell, plain in zip(summary.cells, summary.references, strict=True):
        assert cell.difference.mean == pytest.approx(cell.error.mean - plain.error.mean)
    assert summary.best is None
    epochs = [
        json.loads((tiny.out / f"train_size={size}" / "comparison.json").read_text())["settings"]["epochs"]
        for size in (50, 100)
    ]
    assert epochs == [4, 2]


def test_other_settings_are_refused(tiny):
    sweep(tiny.with_values(seeds=1))
    with pytest.raises(ValueError, match=r"holds runs with epochs 2 \(got 3\)"):
        sweep(tiny.with_values(epochs=3))
    with pytest.raises(ValueError, match=r"evaluate validation \(got test\); images .* \(got 500 \+ 1297 "):
        sweep(tiny.with_values(evaluate="test"))


def test_a_folder_of_something_else_or_in_use_is_refused(tiny):
    tiny.out.mkdir()
    with filelock.FileLock(tiny.out / ".lock"), pytest.raises(ValueError, match="another `torchmoments sweep`"):
        sweep(tiny)
    (tiny.out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="or one of `torchmoments sweep`"):
        sweep(tiny)


def test_one_seed_has_no_interval(tiny):
    summary = sweep(tiny.with_values(seeds=1))
    assert summary.cells[0].difference.ci95 is None
    assert summary.effects[0].effect.ci95 is None


def test_when_every_run_fails_the_summary_still_stands(tiny):
    summary = sweep(tiny.with_values(lr=1e30, epochs=30, seeds=1))
    assert len(summary.failed) == 3
    assert summary.best is None
    assert summary.cells[0].error.mean is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--grid", "lam"], "grid needs axes NAME=VALUE/VALUE"),
        (["--grid"], "at least one axis"),
        (["--grid", "lam=0.5/1.5"], "lam needs a number from 0 to 1; got 1.5"),
        (["--grid", "lamb=0.5"], "Nearest: 'lam'"),
        (["--grid", "at=stem/layer5"], "layer5"),
        (["--grid", "train_size=50/5000"], "to 400 images; got 5000"),
        (["--grid", "width=4/wide"], "width needs a whole number; got 'wide'"),
        (["--grid", "metric=error"], "which all trainings share. Write --metric error beside --grid."),
        (["--method", "meox"], "Nearest: 'moex'"),
        (["--reference", "nothing"], "known methods"),
        (["--controls", "label"], "Nearest: 'labels'"),
        (["--evaluate", "test", "--train-size", "501"], "to 500 images; got 501"),
        (["--steps", "0"], "steps needs at least 1"),
        (["--seeds", "0"], "seeds needs at least 1"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused("sweep", "--train-size", "50", "--epochs", "1", "--width", "4", *flags)


def test_the_command_prints_its_tables_and_a_failed_run_is_exit_code_1(tmp_path, call):
    flags = ["--train-size", "50", "--width", "4", "--seeds", "2", "--workers", "1", "--grid", "p=0.5/1"]
    code, said, complaint = call("sweep", *flags, "--epochs", "1", "--out", str(tmp_path / "out"))
    assert code == 0
    assert "8 runs (4 combinations x 2 seeds): small" in " ".join(complaint.split())
    assert "minus none" in said
    assert "p: 0.5 → 1" in said
    code, said, _ = call("sweep", *flags, "--epochs", "30", "--lr", "1e30", "--out", str(tmp_path / "failed"))
    assert code == 1
    assert "seed 0 failed: the loss needs to stay finite" in " ".join(said.split())


def test_a_combination_that_lost_a_seed_is_not_the_best():
    errors = {"0.5": {0: 1.0}, "1": {0: 3.0, 1: 5.0}, "0": {0: 4.0, 1: 6.0}}
    found = swept({0: 4.0, 1: 5.0}, errors)
    assert found.best.values == {"p": "1"}
    assert found.best.rivals == 1


def test_warm_up_is_refused_that_the_steps_do_not_reach(tiny):
    with pytest.raises(ValueError, match="warmup_epochs needs fewer than the 3 epochs"):
        sweep(tiny.with_values(epochs=None, steps=3, warmup_epochs=10))


def test_damaged_records_are_refused_and_made_anew_when_they_are_removed(tiny):
    tiny = tiny.with_values(grid=("p=0.5/1", "width=4/6"))
    whole, runs = sweep(tiny), summaries(tiny.out)
    for name in ("sweep.json", "width=4/comparison.json"):
        record = tiny.out / name
        for content in (b"", b"[]", b'{"requests": 1}'):
            record.write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name}' is damaged: .*\. Remove it and run the command"):
                sweep(tiny)
            assert record.read_bytes() == content
        record.unlink()
        assert sweep(tiny).cells == whole.cells
        assert summaries(tiny.out) == runs


def test_with_more_data_on_an_axis_no_best_is_named_and_the_report_says_why(tiny):
    summary = sweep(tiny.with_values(grid=("train_size=50/60",), seeds=1))
    assert summary.best is None
    assert "with more data every method is better" in summary.conclusion[0]
    assert "with more data every method is better" in (tiny.out / "report.md").read_text()


@pytest.mark.parametrize("more", [{"epochs": 3}, {"grid": ("epochs=1/2",)}])
def test_steps_and_epochs_together_are_refused(tiny, more):
    plain = tiny.with_values(epochs=None, steps=4)
    with pytest.raises(ValueError, match="steps sets the epochs of every combination; got .* too. Leave one out"):
        plain.with_values(**more).check()


@pytest.mark.parametrize(
    ("asked", "controls"),
    [
        ({}, ["labels"]),
        ({"method": "moex:norm=in,p=0.2", "grid": ("lam=0.5/0.9",)}, ["labels:p=0.2"]),
        ({"method": "cutmix+moex:p=0.25", "grid": ("lam=0.5/0.9",)}, ["cutmix+labels:p=0.25"]),
        ({"grid": ("method=moex/mixstyle/moex:norm=in/moex:p=1",)}, ["labels", "labels:p=1"]),
        ({"grid": ("method=labels/moex",)}, []),
        ({"reference": "labels"}, []),
        ({"method": "mixstyle"}, []),
        ({"controls": ()}, []),
        ({"controls": ("mixstyle",)}, ["mixstyle"]),
    ],
)
def test_beside_a_moex_its_labels_alone_are_trained_unless_one_says_which(tmp_path, monkeypatch, asked, controls):
    def train(experiment, method, seed, log):
        targets = experiment.data.test.labels.numpy()
        wrong = np.random.default_rng(seed).random(len(targets)) < 0.1
        scores = np.eye(10, dtype=np.float32)[np.where(wrong, (targets + 1) % 10, targets)]
        return Result([Epoch(1, 1.0, 50.0, 0.1)], scores, 1.0, {})

    monkeypatch.setattr(run_folders, "train", train)
    few = {"train_size": 50, "epochs": 1, "width": 4, "grid": ("p=0.5/1",), "seeds": 1, "workers": 1}
    summary = sweep(Request().with_values(**few | asked, out=tmp_path / "sweep"))
    assert [control.method for control in summary.controls] == controls
    folders = {unquote(path.name) for path in tmp_path.glob("sweep/comparison/runs/*")}
    assert folders == {summary.reference, *controls, *(cell.method for cell in summary.cells)}


def test_seeds_that_are_added_without_a_plan_are_told_and_widen_the_intervals(tiny):
    at_first = sweep(tiny.with_values(seeds=3))
    grown = sweep(tiny.with_values(seeds=4))
    assert (at_first.grown, grown.grown) == (False, True)
    told = "Seeds were added without a plan. Differences and effects hold however often one looks;"
    assert any(sentence.startswith(told) for sentence in grown.conclusion)
    assert not any("without a plan" in sentence for sentence in at_first.conclusion)
    for cell in grown.cells:
        low, high = cell.difference.ci95
        level = stats.t.ppf(1 - (1 - 0.95**0.5) / 2, cell.difference.df) / stats.t.ppf(0.975, cell.difference.df)
        wide = cell.difference.ci95_adjusted
        assert wide is None or wide[1] - wide[0] > 1.2 * level * (high - low)
        assert cell.difference.p_adjusted > 1 - (1 - cell.difference.p_value) ** 2


def test_a_record_with_what_is_no_number_is_damaged(tiny):
    """It could not be written again."""
    sweep(tiny.with_values(seeds=1))
    path = tiny.out / "sweep.json"
    whole = path.read_bytes()
    for number in (b"NaN", b"-Infinity"):
        path.write_bytes(whole.replace(b'"epochs": 2', b'"epochs": ' + number))
        with pytest.raises(ValueError, match=r"sweep.json' is damaged: it has .*\. Remove it and run the command"):
            sweep(tiny.with_values(seeds=2))
    path.unlink()
    sweep(tiny.with_values(seeds=1))
    assert path.read_bytes() == whole
