"""A probe's folder and summary, on trainings of a second."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from torchmoments_lab.probe import runs
from torchmoments_lab.probe.probe import probe
from torchmoments_lab.probe.report import sentences
from torchmoments_lab.report.records import read_summary
from torchmoments_lab.requests import Probe

# They train.
pytestmark = pytest.mark.slow

PARTS = ("moments", "normalized", "features")


@pytest.fixture
def tiny(tmp_path):
    return Probe().with_values(
        train_size=50, epochs=2, width=4, seeds=2, workers=1, norms=("pono",), out=tmp_path / "probe"
    )


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/*/seed*/summary.json")}


def error(out, word, seed):
    return json.loads((out / f"runs/{word}/seed{seed}/summary.json").read_text())["error"]


@pytest.mark.drawn
def test_summary_has_the_promised_names_and_the_numbers_of_the_runs(tiny):
    summary = probe(tiny)
    assert read_summary(tiny.out / "summary.json") == summary
    for part in PARTS:
        word = part if part == "features" else f"{part}%3Anorm=pono"
        errors = [error(tiny.out, word, seed) for seed in (0, 1)]
        error_of_part = summary.views[part if part == "features" else f"{part}:norm=pono"].error
        assert error_of_part.mean == pytest.approx(np.mean(errors))
        assert error_of_part.n == 2
    minus = np.subtract(
        [error(tiny.out, "moments%3Anorm=pono", s) for s in (0, 1)], [error(tiny.out, "features", s) for s in (0, 1)]
    )
    assert summary.views["moments:norm=pono"].difference.mean == pytest.approx(np.mean(minus))
    assert (tiny.out / "probe.png").stat().st_size > 5000
    assert "moments alone" in (tiny.out / "report.md").read_text()
    assert len((tiny.out / "seeds.csv").read_text().splitlines()) == 1 + 2 * 4


@pytest.mark.parametrize("quick", [False, True])
def test_all_trainings_follow_the_first_seed(tiny, tmp_path, quick):
    probe(tiny.with_values(quick=quick))
    fresh = tiny.with_values(quick=quick, first_seed=1, seeds=1, out=tmp_path / "fresh")
    probe(fresh)
    folders = sorted(path.parent.name for path in fresh.out.glob("runs/*/seed0"))
    assert len(folders) == 4
    for name in folders:
        mine = np.load(fresh.out / "runs" / name / "seed0" / "predictions.npy")
        of_seed = np.load(tiny.out / "runs" / name / "seed1" / "predictions.npy")
        assert np.array_equal(mine["scores"], of_seed["scores"])


def test_chance_is_the_error_of_always_naming_the_most_frequent_class(tiny):
    summary = probe(tiny)
    targets = np.load(tiny.out / "runs/features/seed0/predictions.npy")["target"]
    errors = [100 * np.mean(targets != c) for c in range(10)]
    assert min(errors) <= summary.views["chance"].error.mean <= max(errors)


def test_the_features_are_those_of_the_plain_training(tiny, monkeypatch):
    sources = {}

    class Watched(runs.Source):
        def __init__(self, model, place):
            super().__init__(model, place)
            sources.setdefault(place, []).append(model.state_dict())

    monkeypatch.setattr(runs, "Source", Watched)
    probe(tiny.with_values(seeds=1))
    trained = load_file(tiny.out / "runs/none/seed0/weights.safetensors")
    assert len(sources["stem"]) == 3
    for weights in sources["stem"]:
        assert all(torch.equal(weights[name], trained[name]) for name in trained)


def test_whole_features_serve_about_as_well_as_in_the_network_that_they_are_from(tiny):
    summary = probe(tiny.with_values(seeds=1, epochs=20, train_size=200))
    assert abs(summary.views["features"].error.mean - summary.views["none"].error.mean) < 10


def test_norms_and_seeds_may_be_added_and_complete_runs_are_left_alone(tiny):
    probe(tiny.with_values(seeds=1))
    before = times(tiny.out)
    seen = []
    probe(tiny.with_values(norms=("pono", "in")), seen.append)
    after = times(tiny.out)
    assert {path: after[path] for path in before} == before
    assert len(after) == 2 * (1 + 1 + 2 + 2)
    assert {progress.total for progress in seen} == {12}
    # Of the first seed 4 were there: a plain run and three views.
    assert (seen[0].done, seen[-1].done) == (4, 12)
    done = [progress.done for progress in seen]
    assert done == sorted(done)


def test_without_training_no_plain_run_is_made(tiny):
    summary = probe(tiny.with_values(trained=False, seeds=1))
    assert summary.views["none"].error.n == 0
    assert not (tiny.out / "runs/none").exists()


def test_a_quick_probe_fits_a_head(tiny):
    summary = probe(tiny.with_values(quick=True, trained=False, train_size=300, norms=("pono", "in", "gn2", "1+3")))
    for norm in ("pono", "in", "gn2", "1+3"):
        assert summary.views[f"moments:norm={norm}"].error.mean < 60
    assert summary.views["features"].error.mean < 30


def test_another_place_changes_the_features(tiny):
    summary = probe(tiny.with_values(seeds=1, at="layer2", quick=True, trained=False))
    assert summary.settings["at"] == "layer2"
    with pytest.raises(ValueError, match=r"at layer2 \(got layer1\)"):
        probe(tiny.with_values(seeds=1, at="layer1", quick=True, trained=False))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--norms", "bn"], "nothing to exchange"),
        (["--norms", "pno"], "norm needs one of"),
        (["--norms", "gn3"], "3 divides"),
        (["--norms", "pono", "pono"], "each norm once"),
        (["--norms"], "at least one norm"),
        (["--at", "layer5"], "Nearest: 'layer"),
        (["--at", "layer*"], "one module"),
        (["--at", "layer1.conv1"], "everything goes through"),
        (["--at", "fc"], "features [B, C, *positions]"),
        (["--seeds", "0"], "seeds needs at least 1"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(refused, flags, sentence):
    assert sentence in refused("probe", "--train-size", "50", "--epochs", "1", "--width", "4", *flags)


def test_the_command_prints_its_table(tmp_path, call):
    flags = ["--train-size", "50", "--epochs", "1", "--width", "4", "--seeds", "1", "--norms", "pono"]
    code, said, complaint = call("probe", *flags, "--workers", "1", "--out", str(tmp_path / "out"))
    assert code == 0
    assert "moments alone" in said
    assert complaint.splitlines()[-1].startswith("4 of 4  normalized:norm=pono seed 0  error ")


def test_that_moments_predict_the_class_is_shown_for_other_seeds_and_images(tiny):
    summary = probe(tiny.with_values(seeds=3))
    rows = [np.load(tiny.out / f"runs/moments%3Anorm=pono/seed{seed}/predictions.npy") for seed in range(3)]
    found = summary.minus_chance["pono"]
    assert found.mean == pytest.approx(
        np.mean([100 * np.mean(of["target"] != of["predicted"]) for of in rows]) - summary.views["chance"].error.mean
    )
    assert found.n == 3
    assert sum(found.ci95) / 2 == pytest.approx(found.mean)
    for outcome, sentence in (
        ("gain", ": moments predict the class."),
        ("not shown", ": not shown that moments predict the class."),
        ("harm", ": not shown that moments predict the class."),
        ("unknown", "without an interval (1 or 2 seeds, or no spread) it is not shown that moments predict the class."),
    ):
        changed = replace(summary, minus_chance={"pono": replace(found, outcome=outcome)})
        assert sentence in sentences(changed)[0]


def test_moments_and_normalized_features_of_all_norms_are_judged_together(tiny):
    summary = probe(tiny.with_values(norms=("pono", "in"), quick=True, trained=False, seeds=3))
    parts = [f"{part}:norm={norm}" for norm in ("pono", "in") for part in ("moments", "normalized")]
    for difference in (summary.views[part].difference for part in parts):
        assert difference.p_adjusted == pytest.approx(1 - (1 - difference.p_value) ** 4, abs=1e-12)
    for difference in summary.minus_chance.values():
        assert difference.p_adjusted == pytest.approx(1 - (1 - difference.p_value) ** 2, abs=1e-12)


@pytest.mark.parametrize(
    ("asked", "grown"), [((3, 4), True), ((3, 3), False), ((2, 4), False), ((4, 3), False), ((3, 4, 3), False)]
)
def test_a_folder_that_grew_without_a_plan_has_wider_intervals(tiny, asked, grown):
    quick = tiny.with_values(quick=True, trained=False)
    for seeds in asked:
        summary = probe(quick.with_values(seeds=seeds))
    assert summary.grown == grown
    told = "Seeds were added without a plan; differences hold however often one looks."
    assert (told in summary.conclusion) == grown
    assert json.loads((tiny.out / "probe.json").read_text())["seeds"] == sorted(set(asked))
    at_once = probe(quick.with_values(seeds=asked[-1], out=tiny.out.with_name("at-once")))
    assert not at_once.grown
    of_both = [found.views["normalized:norm=pono"].difference for found in (summary, at_once)]
    assert of_both[0].ci95 == of_both[1].ci95
    # Wide, or so wide that it has no end yet.
    wide, narrow = (np.inf if of.ci95_adjusted is None else np.ptp(of.ci95_adjusted) for of in of_both)
    assert wide > 1.2 * narrow if grown else wide == narrow


def test_without_its_record_a_folder_is_still_known_to_have_grown(tiny):
    quick = tiny.with_values(quick=True, trained=False)
    probe(quick.with_values(seeds=3))
    (tiny.out / "probe.json").unlink()
    assert probe(quick.with_values(seeds=4)).grown


def test_a_damaged_record_is_refused_and_made_anew_when_it_is_removed(tiny):
    probe(tiny)
    record, runs = tiny.out / "probe.json", times(tiny.out)
    whole = record.read_bytes()
    read = json.loads(whole)
    made_up = [read | {"seeds": 1}, read | {"settings": read["settings"] | {"lr": -1}}]
    for content in (b"", b"[]", b'{"settings": 1}', *(json.dumps(record).encode() for record in made_up)):
        record.write_bytes(content)
        with pytest.raises(ValueError, match=r"probe.json' is damaged: .*\. Remove it and run the command"):
            probe(tiny)
        assert record.read_bytes() == content
    record.unlink()
    with pytest.raises(ValueError, match=r"holds runs with quick False \(got True\)"):
        probe(tiny.with_values(quick=True))
    probe(tiny)
    assert record.read_bytes() == whole
    assert times(tiny.out) == runs
