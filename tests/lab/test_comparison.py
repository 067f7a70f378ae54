"""A comparison's folder: resumed, extended, refused; runs that fail; what its summary says."""

import json
import re
import shutil

import filelock
import numpy as np
import pytest

from torchmoments_lab import runs as run_folders
from torchmoments_lab.comparison import compare
from torchmoments_lab.files import write_record
from torchmoments_lab.report.reading import count_complete
from torchmoments_lab.requests import Compare

RUN_FILES = {"config.json", "env.json", "metrics.csv", "predictions.npy", "summary.json"}


TINY = Compare().with_values(train_size=50, epochs=2, width=4, lr=0.1, methods=("none", "moex"), seeds=2, workers=1)


@pytest.fixture
def tiny(tmp_path):
    return TINY.with_values(out=tmp_path / "comparison")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The folder of a comparison, which tests read, and its summary."""
    out = tmp_path_factory.mktemp("original") / "comparison"
    return out, compare(TINY.with_values(out=out))


@pytest.fixture
def trained(tiny, original):
    """A comparison that is complete, in a folder of the test's own."""
    shutil.copytree(original[0], tiny.out)
    return tiny


def files_of(out):
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def times(out):
    return {path: path.stat().st_mtime_ns for path in sorted(out.glob("runs/*/seed*/*"))}


def test_a_run_folder_holds_what_a_report_needs(original):
    out, _ = original
    folders = sorted(out.glob("runs/*/seed*"))
    assert [str(folder.relative_to(out)) for folder in folders] == [
        f"runs/{word}/seed{seed}" for word in ("moex", "none") for seed in (0, 1)
    ]
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == RUN_FILES
        predictions = np.load(folder / "predictions.npy")
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["error"] == pytest.approx(100 * np.mean(predictions["target"] != predictions["predicted"]))
        assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + TINY.training.epochs
        assert json.loads((folder / "env.json").read_text())["threads"] == 1
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or ".tmp" in path.name]


def test_summary_has_the_promised_names_and_the_numbers_of_the_runs(original):
    out, summary = original
    written = json.loads((out / "summary.json").read_text())
    assert list(written["methods"]) == list(summary.methods) == ["none", "moex"]
    assert set(written["methods"]["none"]) >= {"error_mean", "error_ci95", "n", "seconds_mean"}
    assert set(written["paired"]["moex"]) >= {"difference_mean", "difference_ci95", "p_value", "p_holm", "n"}
    errors = {
        word: [json.loads((out / f"runs/{word}/seed{seed}/summary.json").read_text())["error"] for seed in (0, 1)]
        for word in ("none", "moex")
    }
    assert summary.methods["moex"].error.mean == pytest.approx(np.mean(errors["moex"]))
    assert summary.paired["moex"].difference.mean == pytest.approx(np.mean(errors["moex"]) - np.mean(errors["none"]))
    assert (out / "differences.png").stat().st_size > 5000
    assert (out / "differences.svg").read_text().rstrip().endswith("</svg>")


def test_complete_runs_are_left_alone_and_missing_ones_made(trained):
    before = times(trained.out)
    lost = trained.out / "runs/moex/seed1"
    kept = {path: time for path, time in before.items() if path.parent != lost}
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    progress = []
    compare(trained, lambda done, total: progress.append((done, total)))
    assert progress == [(3, 4), (4, 4)]
    after = times(trained.out)
    assert set(after) == set(before)
    assert {path: after[path] for path in kept} == kept


def test_half_written_leftovers_are_cleaned(trained):
    leftover = trained.out / "runs/none/.seed5.tmp"
    leftover.mkdir()
    (leftover / "config.json").write_text("{")
    compare(trained)
    assert not leftover.exists()


@pytest.mark.slow
def test_seeds_and_methods_may_be_added_and_each_addition_is_recorded(trained):
    before = times(trained.out)
    summary = compare(trained.with_values(seeds=3, methods=("none", "labels")))
    assert {path: times(trained.out)[path] for path in before} == before
    assert {word: method.error.n for word, method in summary.methods.items()} == {"none": 3, "moex": 2, "labels": 3}
    assert summary.paired["moex"].difference.n == 2
    compare(trained.with_values(seeds=3, methods=("none", "labels")))
    record = json.loads((trained.out / "comparison.json").read_text())
    assert record["methods"] == ["none", "moex", "labels"]
    assert [(event["methods"], event["seeds"]) for event in record["history"]] == [
        (["none", "moex"], 2),
        (["none", "labels"], 3),
    ]
    compare(trained.with_values(seeds=3))
    record = json.loads((trained.out / "comparison.json").read_text())
    assert (record["history"][-1]["methods"], record["history"][-1]["seeds"]) == (["none", "moex"], 3)


def test_the_order_of_the_words_may_change_but_not_the_reference(trained):
    assert compare(trained.with_values(methods=("moex", "none"))).reference == "none"


@pytest.mark.parametrize(
    "change", [{"epochs": 3}, {"train_size": 51}, {"width": 8}, {"lr": 0.05}, {"batch_size": 20}, {"weight_decay": 0.0}]
)
def test_other_settings_are_refused_with_the_old_and_the_new_value(trained, change):
    files = files_of(trained.out)
    (name, value), *_ = change.items()
    sentence = f"holds runs with {name} {trained.values()[name]}; got {name} {value}."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        compare(trained.with_values(**change))
    assert files_of(trained.out) == files


def test_a_method_that_the_folder_has_under_another_word_is_refused(trained):
    with pytest.raises(ValueError, match="which are the same"):
        compare(trained.with_values(methods=("none", "moex:p=0.5")))


def test_the_default_place_by_its_name_is_the_same_method(tiny):
    with pytest.raises(ValueError, match="got 'moex' and 'moex:at=stem', which are the same"):
        compare(tiny.with_values(methods=("none", "moex", "moex:at=stem")))
    assert not tiny.out.exists()


def test_a_folder_in_use_is_refused(tiny):
    tiny.out.mkdir()
    with (
        filelock.FileLock(tiny.out / ".lock"),
        pytest.raises(ValueError, match="another `torchmoments compare` is running"),
    ):
        compare(tiny)
    compare(tiny.with_values(seeds=1))


def test_a_run_that_another_process_trains_is_not_written_over(tiny, monkeypatch):
    monkeypatch.setattr(run_folders, "_LOCK_SECONDS", 0)
    folder = tiny.out / "runs" / "moex"
    compare(tiny.with_values(methods=("none",), seeds=1))
    folder.mkdir()
    with filelock.FileLock(folder / ".seed0.lock"):
        summary = compare(tiny.with_values(seeds=1))
    assert summary.methods["moex"].error.n == 0
    assert not (folder / "seed0").exists()


def test_a_failed_run_is_recorded_told_and_tried_again(tiny, monkeypatch):
    train = run_folders.train

    def fail_once(experiment, method, seed):
        if method.mixer is not None and seed == 1:
            raise FloatingPointError("the loss needs to stay finite; it became nan at step 1 (epoch 1 of 2)")
        return train(experiment, method, seed)

    monkeypatch.setattr(run_folders, "train", fail_once)
    summary = compare(tiny)
    assert [(run.method, run.seed) for run in summary.failed] == [("moex", 1)]
    assert "moex seed 1 failed: the loss needs to stay finite; it became nan at step 1" in summary.conclusion[-1]
    assert summary.methods["moex"].error.n == 1
    assert summary.methods["none"].error.n == 2
    assert count_complete(tiny.out) == 3
    monkeypatch.setattr(run_folders, "train", train)
    summary = compare(tiny)
    assert summary.failed == ()
    assert summary.methods["moex"].error.n == 2


def test_when_every_run_fails_the_summary_still_stands(tiny):
    summary = compare(tiny.with_values(lr=1e30, epochs=30))
    assert len(summary.failed) == 4
    assert summary.methods["none"].error.mean is None
    assert summary.paired["moex"].difference.mean is None


def test_one_seed_has_no_interval_and_the_conclusion_says_so(tiny):
    summary = compare(tiny.with_values(seeds=1))
    assert summary.methods["none"].error.ci95 is None
    assert summary.paired["moex"].difference.p_holm is None
    assert "one seed, which gives no interval" in summary.conclusion[0]


def test_a_method_that_does_nothing_is_said_to_have_no_spread(tiny):
    summary = compare(tiny.with_values(methods=("none", "moex:p=0")))
    assert summary.paired["moex:p=0"].difference.mean == 0
    assert summary.paired["moex:p=0"].difference.ci95 is None
    assert "no spread" in summary.conclusion[0]


@pytest.mark.slow
def test_two_workers_give_the_results_of_one_and_leave_nothing_else(tiny, original):
    one, _ = original
    compare(tiny.with_values(workers=2))
    assert {path.relative_to(tiny.out) for path in tiny.out.rglob("*")} == {
        path.relative_to(one) for path in one.rglob("*")
    }
    for path in sorted(one.glob("runs/*/seed*/*")):
        if path.name in ("metrics.csv", "predictions.npy", "config.json"):
            assert path.read_bytes() == (tiny.out / path.relative_to(one)).read_bytes()


@pytest.mark.parametrize("metric", ["error", "auroc"])
def test_a_run_that_is_lost_at_its_last_step_failed(tiny, metric):
    summary = compare(tiny.with_values(epochs=1, train_size=50, lr=1e30, metric=metric))
    assert len(summary.failed) == 4
    assert {failure.reason for failure in summary.failed} == {
        "the scores of the test images need to be finite; after the last step some are not. "
        "Try a smaller learning rate than 1e+30."
    }


def test_a_damaged_record_is_refused_and_made_anew_when_it_is_removed(trained):
    record, runs = trained.out / "comparison.json", times(trained.out)
    whole = json.loads(record.read_text())
    sentence = r"comparison.json' is damaged: .*\. Remove it and .* 4 runs in the folder are complete\.$"
    for content in (b"", b'{"settings": {"da', b"[]", b'{"settings": {}, "methods": []}', b"\xff"):
        record.write_bytes(content)
        before = files_of(trained.out)
        with pytest.raises(ValueError, match=sentence):
            compare(trained)
        assert files_of(trained.out) == before
    record.unlink()
    with pytest.raises(ValueError, match="holds runs with epochs 2; got epochs 3"):
        compare(trained.with_values(epochs=3))
    # Runs of a method that is not asked for stay in the folder's record.
    summary = compare(trained.with_values(methods=("none",)))
    assert {word: method.error.n for word, method in summary.methods.items()} == {"none": 2, "moex": 2}
    assert summary.reference == "none"
    assert times(trained.out) == runs
    again = json.loads(record.read_text())
    assert again["settings"] == whole["settings"]
    assert again["seeds"] == 2


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_damaged_run_is_refused_and_trained_anew_when_its_folder_is_deleted(trained, name):
    runs, folder = times(trained.out), trained.out / "runs/moex/seed1"
    sentence = rf"{name}' is damaged: .*\. Delete the folder '{folder}' and run the command"
    for content in (b"", b"7", b'{"method": "no'):
        (folder / name).write_bytes(content)
        before = files_of(trained.out)
        with pytest.raises(ValueError, match=sentence):
            compare(trained.with_values(seeds=3))
        assert files_of(trained.out) == before
        assert count_complete(trained.out) == (3 if name == "summary.json" else 4)
    shutil.rmtree(folder)
    assert compare(trained).methods["moex"].error.n == 2
    assert {path for path, time in times(trained.out).items() if time != runs[path]} == set(folder.iterdir())


def test_a_record_that_would_be_read_back_as_something_else_is_not_written(tmp_path):
    for value in ((1, 2), {1: 2}):
        with pytest.raises(ValueError, match="needs values that JSON gives back equal"):
            write_record(tmp_path / "comparison.json", {"value": value})
    assert list(tmp_path.iterdir()) == []
