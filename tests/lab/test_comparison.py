"""A comparison's folder: resumed, extended, refused; runs that fail; what its summary says."""

import json
import re
import shutil
from urllib.parse import quote

import filelock
import numpy as np
import pytest

from torchmoments_lab import runs as run_folders
from torchmoments_lab.comparison import compare
from torchmoments_lab.files import write_record
from torchmoments_lab.metadata import Metadata
from torchmoments_lab.metrics import METRICS
from torchmoments_lab.report import report
from torchmoments_lab.report.reading import count_complete
from torchmoments_lab.report.records import read_summary
from torchmoments_lab.requests import Compare
from torchmoments_lab.training.epochs import Epoch
from torchmoments_lab.training.train import Result

# They train.
pytestmark = pytest.mark.slow

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
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or "unfinished" in path.name]


def test_summary_has_the_promised_names_and_the_numbers_of_the_runs(original):
    out, summary = original
    written = json.loads((out / "summary.json").read_text())
    assert list(written["methods"]) == list(summary.methods) == ["none", "moex"]
    assert written["version"] == 2
    assert set(written["methods"]["none"]) >= {"metrics", "seconds_mean", "collapsed"}
    assert list(written["methods"]["none"]["metrics"]) == list(METRICS)
    assert set(written["methods"]["none"]["metrics"]["error"]) == {"mean", "ci95", "n"}
    assert list(written["paired"]["moex"]["metrics"]) == list(METRICS)
    assert set(written["paired"]["moex"]["metrics"]["error"]) == {
        "difference_mean",
        "difference_ci95",
        "difference_ci95_adjusted",
        "difference_ci95_these_images",
        "df",
        "p_value",
        "p_adjusted",
        "n",
        "outcome",
    }
    assert written["paired"]["moex"]["metrics"]["error"]["difference_mean"] == summary.differences["moex"].mean
    errors = {
        word: [json.loads((out / f"runs/{word}/seed{seed}/summary.json").read_text())["error"] for seed in (0, 1)]
        for word in ("none", "moex")
    }
    assert summary.errors["moex"].mean == pytest.approx(np.mean(errors["moex"]))
    assert summary.differences["moex"].mean == pytest.approx(np.mean(errors["moex"]) - np.mean(errors["none"]))
    assert (out / "differences.png").stat().st_size > 5000
    assert (out / "differences.svg").read_text().rstrip().endswith("</svg>")


def test_complete_runs_are_left_alone_and_missing_ones_made(trained):
    before = times(trained.out)
    lost = trained.out / "runs/moex/seed1"
    kept = {path: time for path, time in before.items() if path.parent != lost}
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    seen = []
    compare(trained, seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(3, 4), (3, 4), (4, 4)]
    assert [run.name for run in seen[1].running] == ["moex seed 1"]
    assert (seen[2].running, seen[2].ended.name, seen[2].failure) == ((), "moex seed 1", None)
    assert seen[2].ended.outcome() == f"error {seen[2].ended.summary()['error']:.1f}%"
    after = times(trained.out)
    assert set(after) == set(before)
    assert {path: after[path] for path in kept} == kept


def test_half_written_leftovers_are_cleaned(trained):
    leftover = trained.out / "runs/none/.seed5.unfinished"
    leftover.mkdir()
    (leftover / "config.json").write_text("{")
    epochs = trained.out / "runs/none/.seed5.metrics.csv"
    epochs.write_text("epoch,loss\n1,")
    compare(trained)
    assert not leftover.exists()
    assert not epochs.exists()


def test_seeds_and_methods_may_be_added_and_each_addition_is_recorded(trained):
    before = times(trained.out)
    summary = compare(trained.with_values(seeds=3, methods=("none", "labels")))
    assert {path: times(trained.out)[path] for path in before} == before
    assert {word: error.n for word, error in summary.errors.items()} == {"none": 3, "moex": 2, "labels": 3}
    assert summary.differences["moex"].n == 2
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
    "change",
    [{"epochs": 3}, {"train_size": 51}, {"width": 8}, {"lr": 0.05}, {"batch_size": 20}, {"label_smoothing": 0.1}],
)
def test_other_settings_are_refused_with_the_old_and_the_new_value(trained, change):
    files = files_of(trained.out)
    (name, value), *_ = change.items()
    sentence = f"holds runs with {name} {trained.values()[name]} (got {value}). Keep to what it holds"
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
    assert summary.errors["moex"].n == 0
    assert not (folder / "seed0").exists()


def test_a_failed_run_is_recorded_told_and_tried_again(tiny, monkeypatch):
    train = run_folders.train

    def fail_once(experiment, method, seed, **more):
        if method.mixer is not None and seed == 1:
            raise FloatingPointError("the loss needs to stay finite; it became nan at step 1 (epoch 1 of 2)")
        return train(experiment, method, seed, **more)

    monkeypatch.setattr(run_folders, "train", fail_once)
    summary = compare(tiny)
    assert [(run.method, run.seed) for run in summary.failed] == [("moex", 1)]
    assert "moex seed 1 failed: the loss needs to stay finite; it became nan at step 1" in summary.conclusion[-1]
    assert summary.errors["moex"].n == 1
    assert summary.errors["none"].n == 2
    assert count_complete(tiny.out) == 3
    monkeypatch.setattr(run_folders, "train", train)
    summary = compare(tiny)
    assert summary.failed == ()
    assert summary.errors["moex"].n == 2


def test_when_every_run_fails_the_summary_still_stands(tiny):
    summary = compare(tiny.with_values(lr=1e30, epochs=30))
    assert len(summary.failed) == 4
    assert summary.errors["none"].mean is None
    assert summary.differences["moex"].mean is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval_and_the_conclusion_says_so(tiny, made_up, seeds):
    made_up(none=0.1, moex=BETTER)
    summary = compare(tiny.with_values(seeds=seeds))
    assert summary.errors["none"].ci95 is None
    assert summary.differences["moex"].p_adjusted is None
    of_moex = json.loads((tiny.out / "summary.json").read_text())["paired"]["moex"]["metrics"]["error"]
    undefined = ("difference_ci95", "difference_ci95_adjusted", "difference_ci95_these_images", "p_value", "p_adjusted")
    assert [of_moex[name] for name in (*undefined, "df")] == [None] * 6
    assert summary.conclusion[0].endswith("; an interval and p need three seeds or more.")
    assert not any("interval" in words for words in summary.conclusion[1:])
    page = (tiny.out / "report.md").read_text()
    assert "its 95% interval, epoch by epoch" not in page
    assert "The diamond below is the mean." in page


def test_a_method_that_does_nothing_is_said_to_be_the_same(tiny):
    summary = compare(tiny.with_values(methods=("none", "moex:p=0"), seeds=3))
    assert summary.differences["moex:p=0"].mean == 0
    assert summary.differences["moex:p=0"].ci95 is None
    assert summary.conclusion[0] == "moex:p=0: the same error as none with every seed: no spread, no interval."


def test_two_workers_give_the_results_of_one_and_leave_nothing_else(tiny, original):
    one, _ = original
    compare(tiny.with_values(workers=2))
    assert {path.relative_to(tiny.out) for path in tiny.out.rglob("*")} == {
        path.relative_to(one) for path in one.rglob("*")
    }
    for path in sorted(one.glob("runs/*/seed*/*")):
        if path.name in ("metrics.csv", "predictions.npy", "config.json"):
            assert path.read_bytes() == (tiny.out / path.relative_to(one)).read_bytes()
    for name in ("images.json", "test.jpg", "training.jpg"):
        assert (one / name).read_bytes() == (tiny.out / name).read_bytes()


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
    sentence = r"comparison.json' is damaged: .*\. Remove it and .* Complete runs in the folder: 4\.$"
    for content in (b"", b'{"settings": {"da', b"[]", b'{"settings": {}, "methods": []}', b"\xff"):
        record.write_bytes(content)
        before = files_of(trained.out)
        with pytest.raises(ValueError, match=sentence):
            compare(trained)
        assert files_of(trained.out) == before
    record.unlink()
    with pytest.raises(ValueError, match=r"holds runs with epochs 2 \(got 3\)"):
        compare(trained.with_values(epochs=3))
    # Runs of a method that is not asked for stay in the folder's record.
    summary = compare(trained.with_values(methods=("none",)))
    assert {word: error.n for word, error in summary.errors.items()} == {"none": 2, "moex": 2}
    assert summary.reference == "none"
    assert times(trained.out) == runs
    again = json.loads(record.read_text())
    assert again["settings"] == whole["settings"]
    assert again["history"][0]["seeds"] == 2


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
    assert compare(trained).errors["moex"].n == 2
    assert {path for path, time in times(trained.out).items() if time != runs[path]} == set(folder.iterdir())


def test_a_record_that_would_be_read_back_as_something_else_is_not_written(tmp_path):
    for value in ((1, 2), {1: 2}):
        with pytest.raises(ValueError, match="needs values that JSON gives back equal"):
            write_record(tmp_path / "comparison.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def made_up(monkeypatch):
    """Instead of training, runs that are wrong on a share of the test images; gives the (method, seed) of each."""

    def with_shares(**shares):
        ran = []

        def train(experiment, method, seed, checkpoint, log):
            ran.append((method.spec, seed))
            targets = experiment.data.test.labels.numpy()
            share = shares[method.spec]
            share = share[seed] if isinstance(share, list) else share
            # With all methods and seeds the same images are the hard ones.
            wrong = np.random.default_rng(0).random(len(targets)) < share
            scores = np.eye(10, dtype=np.float32)[np.where(wrong, (targets + 1) % 10, targets)]
            epochs = [Epoch(epoch, 1.0, 50.0, 0.0, 0.1) for epoch in (1, 2)]
            return Result(epochs, scores, 1.0, {})

        monkeypatch.setattr(run_folders, "train", train)
        return ran

    return with_shares


def remembered(out, **changes):
    """Change what the record of a folder holds."""
    record = json.loads((out / "comparison.json").read_text())
    (out / "comparison.json").write_text(json.dumps({**record, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"margin": 1e300},
        {"margin": "0.3"},
        {"looks": [3, 2]},
        {"looks": [2.5]},
        {"settings": {"metric": ["error"]}},
        *({"history": [{"methods": ["none", "moex"], "seeds": seeds}]} for seeds in (1e300, 10**12, 0, -1, True, "3")),
        {"history": [{"methods": ["none", "moex"], "seeds": 3, "time": 7}]},
        {"history": [{"methods": ["none", "moex"], "seeds": 3, "command": [None]}]},
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_is_said_to_be_damaged(tiny, made_up, changes):
    made_up(none=0.3, moex=0.05)
    compare(tiny.with_values(seeds=3))
    remembered(tiny.out, **changes)
    with pytest.raises(ValueError, match="comparison.json' is damaged"):
        report.write(tiny.out)


def test_pairs_that_grew_with_the_reference_are_pairs_that_grew(tiny, made_up):
    made_up(none=0.1, moex=BETTER)
    compare(tiny.with_values(seeds=3, methods=("none",)))
    compare(tiny.with_values(seeds=6, methods=("moex",)))
    assert report.write(tiny.out).paired["moex"].grown == ()
    assert compare(tiny.with_values(seeds=6, methods=("none",))).paired["moex"].grown == (3, 6)


def test_in_the_middle_of_a_look_the_one_before_is_judged(tiny, made_up):
    made_up(none=0.1, moex=BETTER)
    compare(tiny.with_values(seeds="4..16", looks=(4, 8, 16)))
    whole = report.write(tiny.out).paired["moex"]
    assert whole.look == 16
    for seed in (9, 11):
        shutil.rmtree(tiny.out / f"runs/moex/seed{seed}")
    summary = report.write(tiny.out)
    assert summary.paired["moex"].look == 8
    assert summary.differences["moex"].n == 8
    assert any("moex is not decided yet: rerun the command." in sentence for sentence in summary.conclusion)
    assert compare(tiny.with_values(seeds="4..16", looks=(4, 8, 16))).paired["moex"] == whole


def test_a_method_that_is_the_same_is_no_reason_to_end_a_plan_nor_to_start_again(tiny, made_up):
    ran = made_up(none=0.3, moex=0.3)
    summary = compare(tiny.with_values(seeds="3..6"))
    assert len(ran) == 12
    assert not summary.is_open("moex")
    assert not any("rerun" in sentence for sentence in summary.conclusion)


def test_a_method_that_is_not_asked_for_does_not_keep_a_plan_going(tiny, made_up):
    ran = made_up(none=0.1, moex=0.02, labels=BETTER)
    compare(tiny.with_values(seeds="3..12", methods=("none", "labels"), looks=(3, 12)))
    ran.clear()
    compare(tiny.with_values(seeds="3..12", methods=("none", "moex"), looks=(3, 12)))
    assert {seed for method, seed in ran if method == "moex"} == set(range(3))


def history(out):
    record = json.loads((out / "comparison.json").read_text())
    return [(event["methods"], event["seeds"]) for event in record["history"]]


# Beside 0.1: at first seeds differ in how much better they are, later they agree.
BETTER = [0.11, 0.06, 0.10, 0.05, 0.10, 0.07, 0.10, 0.07, *[0.08] * 8]


def test_a_plan_ends_at_the_first_look_that_decides_every_comparison(tiny, made_up):
    ran, notices = made_up(none=0.3, moex=0.05), []
    summary = compare(tiny.with_values(seeds="3..12"), notice=notices.append)
    assert ran == [(method, seed) for seed in range(3) for method in ("none", "moex")]
    assert not any("Not decided" in sentence for sentence in notices)
    assert (summary.looks, summary.differences["moex"].outcome) == ((3, 6, 12), "gain")
    assert (summary.paired["moex"].look, summary.is_open("moex")) == (3, False)
    assert history(tiny.out) == [(["none", "moex"], 3)]
    assert "It ended at 3: every comparison is decided." in " ".join(summary.conclusion)


def test_a_plan_goes_on_while_a_comparison_is_not_decided_and_is_one_request(tiny, made_up):
    ran = made_up(none=0.1, moex=BETTER)
    looked, notices = [], []

    def notice(sentence):
        if "Not decided" in sentence:
            looked.append(read_summary(tiny.out / "summary.json"))
            notices.append(sentence)

    summary = compare(tiny.with_values(seeds="4..16"), notice=notice)
    assert notices == ["Not decided after 4 seeds; goes on to 8.", "Not decided after 8 seeds; goes on to 16."]
    assert [found.differences["moex"].n for found in looked] == [4, 8]
    assert [found.differences["moex"].outcome for found in looked] == ["not shown", "not shown"]
    assert (summary.differences["moex"].n, summary.differences["moex"].outcome) == (16, "gain")
    assert ran == [(method, seed) for seed in range(16) for method in ("none", "moex")]
    assert history(tiny.out) == [(["none", "moex"], 16)]
    assert "Intervals and p allow for the planned looks at 4, 8, 16 seeds." in summary.conclusion
    # The last look has nearly all of the level, and less than all.
    found = summary.differences["moex"]
    assert found.p_value < found.p_adjusted < 0.05
    low, high = found.ci95_adjusted
    assert low < found.ci95[0] < found.ci95[1] < high


def test_a_plan_has_the_looks_one_names(tiny, made_up):
    made_up(none=0.1, moex=BETTER)
    summary = compare(tiny.with_values(seeds="3..6", looks=(3, 5)))
    assert summary.looks == (3, 5, 6)
    assert json.loads((tiny.out / "comparison.json").read_text())["looks"] == [3, 5, 6]


def test_a_difference_within_the_margin_decides(tiny, made_up):
    made_up(none=0.1, moex=0.105)
    summary = compare(tiny.with_values(seeds="3..12", stop_at=5.0))
    assert summary.differences["moex"].outcome == "no difference that matters"
    assert (summary.differences["moex"].n, summary.margin) == (3, 5.0)
    low, high = summary.differences["moex"].ci95_adjusted
    assert -5 < low <= high < 5
    assert json.loads((tiny.out / "comparison.json").read_text())["margin"] == 5.0


def test_a_plan_that_ended_trains_nothing_more(tiny, made_up):
    ran = made_up(none=0.3, moex=0.05)
    planned = tiny.with_values(seeds="3..12")
    summary, before = compare(planned), times(tiny.out)
    ran.clear()
    assert compare(planned) == summary
    assert ran == []
    assert times(tiny.out) == before


def test_a_plan_is_resumed_where_it_was_interrupted(tiny, made_up):
    ran, planned = made_up(none=0.1, moex=BETTER), tiny.with_values(seeds="4..8")
    whole = compare(planned)
    for seed in (6, 7):
        shutil.rmtree(tiny.out / f"runs/moex/seed{seed}")
    ran.clear()
    assert compare(planned) == whole
    assert ran == [("moex", 6), ("moex", 7)]


def test_a_plan_is_not_ended_by_a_look_that_was_interrupted(tiny, made_up):
    """With 4 seeds it is undecided, with 15 of 16 it would be decided."""
    made_up(none=0.3, moex=[0.29, 0.20, 0.30, 0.19, *[0.05] * 12])
    planned = tiny.with_values(seeds="4..16", looks=(4, 16))
    assert compare(planned).differences["moex"].n == 16
    shutil.rmtree(tiny.out / "runs/moex/seed15")
    assert compare(planned).differences["moex"].n == 16


def test_without_its_record_a_plan_goes_on_from_the_last_look_that_was_complete(tiny, made_up):
    made_up(none=0.1, moex=BETTER)
    planned = tiny.with_values(seeds="4..8")
    whole = compare(planned)
    for seed in (6, 7):
        for method in ("none", "moex"):
            shutil.rmtree(tiny.out / f"runs/{method}/seed{seed}")
    (tiny.out / "comparison.json").unlink()
    again = compare(planned)
    assert (again.looks, again.differences) == (whole.looks, whole.differences)
    assert history(tiny.out)[-1] == (["none", "moex"], 8)


def test_a_plan_is_not_given_up_after_three_seeds_that_all_gain(tiny, made_up):
    """About -2 and -8 points in turn: 8 such seeds show it."""
    made_up(none=0.1, moex=[0.08, 0.02] * 4)
    at_once = compare(tiny.with_values(seeds=8, out=tiny.out.with_name("at-once")))
    assert at_once.differences["moex"].p_adjusted < 0.01
    summary = compare(tiny.with_values(seeds="3..8", looks=(3, 8)))
    assert (summary.differences["moex"].n, summary.differences["moex"].outcome) == (8, "gain")


@pytest.mark.parametrize(
    ("first", "then", "sentence"),
    [
        (
            {"seeds": "3..4"},
            {"seeds": "3..8"},
            "was begun with another plan: looks at 3, 4 seeds; got looks at 3, 6, 8 seeds. Keep to the first, or",
        ),
        ({"seeds": "3..4"}, {"seeds": 8}, "looks at 3, 4 seeds; got one look."),
        ({"seeds": 2}, {"seeds": "3..4"}, "one look; got looks at 3, 4 seeds."),
        (
            {"seeds": 2},
            {"seeds": 4, "stop_at": 0.3},
            "one look; got one look, --stop-at 0.3.",
        ),
        (
            {"seeds": "3..4", "stop_at": 0.3},
            {"seeds": "3..4", "stop_at": 0.5},
            "looks at 3, 4 seeds, --stop-at 0.3; got looks at 3, 4 seeds, --stop-at 0.5.",
        ),
    ],
)
def test_another_plan_is_refused_and_both_are_named(tiny, made_up, first, then, sentence):
    ran = made_up(none=0.3, moex=0.05)
    compare(tiny.with_values(**first))
    files, trained = files_of(tiny.out), len(ran)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        compare(tiny.with_values(**then))
    assert files_of(tiny.out) == files
    assert len(ran) == trained


@pytest.mark.parametrize(
    "runs",
    [
        {"seeds": "8..3"},
        {"seeds": "2..4"},
        {"seeds": "3.."},
        {"seeds": "3..8", "looks": ("3", "9")},
        {"seeds": "3..8", "looks": ("4", "3")},
        {"looks": ("2",)},
        {"stop_at": 0.0},
        {"stop_at": -1.0},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_before_anything_is_written(tiny, made_up, runs):
    ran = made_up(none=0.3, moex=0.05)
    with pytest.raises(ValueError, match="^(seeds|looks|stop_at) needs "):
        compare(tiny.with_values(**runs))
    assert not tiny.out.exists()
    assert ran == []


def test_seeds_that_are_added_without_a_plan_widen_the_interval(tiny, made_up):
    made_up(none=0.1, moex=BETTER)
    compare(tiny.with_values(seeds=3))
    grown = compare(tiny.with_values(seeds=6))
    at_once = compare(tiny.with_values(seeds=6, out=tiny.out.with_name("at-once")))
    entry, found, once = grown.paired["moex"], grown.differences["moex"], at_once.differences["moex"]
    assert (entry.grown, at_once.paired["moex"].grown) == ((3, 6), ())
    # What the difference alone says does not depend on it.
    assert (found.mean, found.ci95, found.df, found.p_value) == (once.mean, once.ci95, once.df, once.p_value)
    assert once.ci95_adjusted == once.ci95
    widths = [high - low for low, high in (found.ci95_adjusted, once.ci95_adjusted)]
    assert entry.times_as_wide_grown == pytest.approx(widths[0] / widths[1])
    assert entry.times_as_wide_grown > 1.2
    assert found.p_adjusted > once.p_adjusted == pytest.approx(once.p_value)
    assert sum("Seeds were added without a plan (3, 6)," in sentence for sentence in grown.conclusion) == 1
    assert not any("without a plan" in sentence for sentence in at_once.conclusion)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_first_try_with_too_few_seeds_for_an_interval_is_no_look(tiny, made_up, seeds):
    made_up(none=0.1, moex=BETTER)
    compare(tiny.with_values(seeds=seeds))
    found = compare(tiny.with_values(seeds=6))
    assert found.paired["moex"].grown == ()
    assert found.differences["moex"].ci95_adjusted == found.differences["moex"].ci95
    assert not any("without a plan" in sentence for sentence in found.conclusion)
    assert [asked for _, asked in history(tiny.out)] == [seeds, 6]


def test_a_method_that_is_added_with_all_its_seeds_was_looked_at_once(tiny, made_up):
    made_up(none=0.1, moex=BETTER, labels=BETTER[::-1])
    compare(tiny.with_values(seeds=3))
    compare(tiny.with_values(seeds=6))
    found = compare(tiny.with_values(seeds=6, methods=("none", "labels")))
    assert {method: entry.grown for method, entry in found.paired.items()} == {"moex": (3, 6), "labels": ()}
    told = [sentence for sentence in found.conclusion if "without a plan" in sentence]
    assert "the intervals and p of moex hold" in told[0]


def test_a_run_whose_summary_is_not_that_of_its_predictions_is_damaged(tiny, made_up):
    made_up(none=0.3, moex=0.05)
    compare(tiny.with_values(seeds=3))
    path = tiny.out / "runs/moex/seed1/summary.json"
    written = json.loads(path.read_text())
    rows = np.load(path.with_name("predictions.npy"))
    wrong = 100 * np.mean(rows["target"] != rows["predicted"])
    assert written["error"] == pytest.approx(wrong)
    path.write_text(json.dumps(written | {"error": written["error"] + 0.01}))
    summary = report.write(tiny.out)
    (failed,) = summary.failed
    assert (failed.method, failed.seed) == ("moex", 1)
    (said,) = re.findall(
        r"predictions.npy' is damaged: ValueError: its error is (\S+), and summary.json", failed.reason
    )
    assert float(said) == pytest.approx(wrong)
    assert {name: error.n for name, error in summary.errors.items()} == {"none": 3, "moex": 2}
    # The last digits may be those of another way to sum.
    path.write_text(json.dumps(written | {"error": written["error"] + 1e-9}))
    assert report.write(tiny.out).failed == ()


def test_every_run_keeps_its_weights_if_that_is_asked_for(tiny, original):
    compare(tiny.with_values(keep_weights=True))
    for folder in tiny.out.glob("runs/*/seed*"):
        assert {path.name for path in folder.iterdir()} == {*RUN_FILES, "weights.safetensors"}
        # Nothing else is other.
        for name in ("predictions.npy", "config.json"):
            assert (folder / name).read_bytes() == (original[0] / folder.relative_to(tiny.out) / name).read_bytes()
        metadata = Metadata.read(folder / "weights.safetensors")
        assert (quote(metadata.method), f"seed{metadata.seed}") == folder.relative_to(tiny.out / "runs").parts
        assert metadata.place == (None if metadata.method == "none" else "stem")
        assert metadata.error == json.loads((folder / "summary.json").read_text())["error"]


def test_runs_that_are_complete_without_weights_are_counted_and_left_alone(trained):
    said, before = [], times(trained.out)
    shutil.rmtree(trained.out / "runs/moex/seed1")
    asked = trained.with_values(keep_weights=True)
    compare(asked, notice=said.append)
    sentence = (
        "Complete runs without weights: 3. They are not trained again; for their weights delete their folders in "
        f"'{trained.out / 'runs'}', or write another --out."
    )
    assert sentence in said
    assert [path.parent for path in trained.out.rglob("weights.safetensors")] == [trained.out / "runs/moex/seed1"]
    after = times(trained.out)
    assert all(after[path] == time for path, time in before.items() if path.parent.name == "seed0")
    # Without --keep-weights it is no matter; nor is a run that has them.
    for request, is_said in ((trained, False), (asked, True)):
        said.clear()
        compare(request, notice=said.append)
        assert (sentence in said) == is_said


def test_the_command_in_the_record_keeps_weights_too(tiny):
    compare(tiny.with_values(keep_weights=True))
    (event,) = json.loads((tiny.out / "comparison.json").read_text())["history"]
    assert "--keep-weights" in event["command"]


@pytest.mark.parametrize("value", [10**400, "x", [1], -1, None])
@pytest.mark.parametrize("name", ["lr", "epochs"])
def test_a_record_with_other_settings_than_its_runs_is_the_damaged_one(trained, name, value):
    """Told to keep to what it holds, or to delete the runs, nobody would get any further."""
    path = trained.out / "comparison.json"
    before, seeds = path.read_text(), (trained.out / "seeds.csv").read_bytes()
    record = json.loads(before)
    for settings in (record["settings"] | {name: value}, {n: v for n, v in record["settings"].items() if n != name}):
        path.write_text(json.dumps(record | {"settings": settings}))
        for again in (lambda: compare(trained), lambda: report.write(trained.out)):
            with pytest.raises(ValueError, match=rf"comparison.json' is damaged: .*{name}.*\. Remove it and run the"):
                again()
    path.unlink()
    compare(trained)
    assert (trained.out / "seeds.csv").read_bytes() == seeds
    path.write_text(before)


def test_a_checkpoint_beside_a_complete_run_goes_and_others_stay(trained):
    """The process was killed when the run was complete, and before it was removed."""
    left, kept = (trained.out / "runs" / "none" / f".seed{seed}.pt" for seed in (0, 5))
    left.touch()
    kept.touch()
    compare(trained)
    assert not left.exists()
    assert kept.exists()
