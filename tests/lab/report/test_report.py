"""The report: the same in HTML and Markdown, the same again from the folder, escaped, or refused in a sentence."""

import base64
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

from torchmoments_lab.cli import main
from torchmoments_lab.command import command
from torchmoments_lab.comparison import compare
from torchmoments_lab.metrics import METRICS, NAMES, score
from torchmoments_lab.report import contents, render, report
from torchmoments_lab.report.drawing import ACCENT, HARM, INK, LINE, MUTED
from torchmoments_lab.report.page import Page, Section, Table
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.report.records import read_summary, write_summary
from torchmoments_lab.report.summarize import summarize
from torchmoments_lab.report.wording import NONE, data_name
from torchmoments_lab.requests import Compare
from torchmoments_lab.statistics.values import Difference

# They train.
pytestmark = pytest.mark.slow

PICTURES = ["differences", "confusion", "pictures-1", "pictures-2", "inputs", "curves"]
WRITTEN = [
    *(f"{name}.{ending}" for name in PICTURES for ending in ("png", "svg")),
    "report.html",
    "report.md",
    "seeds.csv",
    "summary.json",
]
NASTY = """<script>alert("1")</script> | a `b` *c* _d_ $x^2$ [l](http://e) & 'q' \\ # <!-- ~~s~~ <http://x> </svg>"""
VOID = {"meta", "br", "hr", "img", "wbr", "use", "path"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "comparison"
    methods = ("none", "labels", "moex")
    compare(Compare().with_values(train_size=100, epochs=3, width=8, methods=methods, seeds=3, workers=1, out=out))
    return out


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "comparison"))


class Words(HTMLParser):
    """What a page says: its tags, and the words of headings, paragraphs, tables and code, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self.facts, self.tables, self.open = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("h1", "h2", "p", "th", "td", "li", "code", "title", "footer"):
            self.open.append((tag, []))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            words = "".join(self.open.pop()[1])
            words = words.strip("\n") if tag == "code" else " ".join(words.split())
            place = self.tables[-1][-1] if tag in ("th", "td") else self.facts if tag == "li" else self.blocks
            place.append(words)

    def handle_data(self, data):
        if self.open:
            self.open[-1][1].append(data)

    @property
    def figures(self):
        return [attributes["aria-label"] for tag, attributes in self.tags if tag == "figure"]

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def html_of(out):
    return Words((out / "report.html").read_text())


def markdown_of(out):
    return Words(MarkdownIt("gfm-like", {"linkify": False}).render((out / "report.md").read_text()))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def set_everywhere(out, **settings):
    """Change settings as if the comparison had been made with them."""
    edit(out / "comparison.json", lambda record: record["settings"].update(settings))
    for path in out.glob("runs/*/*/config.json"):
        edit(path, lambda config: config.update(settings))


def rename(out, old, new):
    """Give a method another word, as if it had been typed so."""
    (out / "runs" / quote(old, safe="=,")).rename(out / "runs" / quote(new, safe="=,"))
    for path in (out / "runs" / quote(new, safe="=,")).glob("seed*/summary.json"):
        edit(path, lambda summary: summary.update(method=new))

    def rename_words(record):
        for holder in (record, *record["history"]):
            holder["methods"] = [new if word == old else word for word in holder["methods"]]

    edit(out / "comparison.json", rename_words)


def fail(out, word, seed, reason):
    run = out / "runs" / word / f"seed{seed}"
    for name in ("predictions.npy", "metrics.csv"):
        (run / name).unlink()
    edit(run / "summary.json", lambda summary: summary.update(error=None, seconds=None, failed=reason))


def files_of(out):
    return {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def number(cell):
    return float(cell.replace("\u2212", "-").partition(" ")[0])


@pytest.mark.drawn
def test_compare_ends_with_the_report_and_report_makes_the_same_bytes_again(trained, folder, monkeypatch):
    for name in WRITTEN:
        (folder / name).unlink()
    monkeypatch.chdir(folder.parent)
    report.write(Path("comparison"))
    assert {name: (folder / name).read_bytes() == (trained / name).read_bytes() for name in WRITTEN} == dict.fromkeys(
        WRITTEN, True
    )


def test_the_html_is_one_file_without_scripts_or_outside_addresses(trained):
    page = html_of(trained)
    assert not {"script", "link", "img", "iframe", "object", "a"} & {tag for tag, _ in page.tags}
    text = (trained / "report.html").read_text()
    outside = set(re.findall(r"https?://[^\"' ]+", text))
    assert outside == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text
    # Pictures are in the page itself, in each row at most 8.
    own = [target for target in page.attributes("xlink:href") if not target.startswith("#")]
    assert 5 * 8 < len(own) <= 6 * 8
    for target in own:
        head, _, content = target.partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(BytesIO(base64.b64decode(content))).size == (8, 8)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_html_is_well_formed_and_its_references_lead_somewhere(trained):
    text = (trained / "report.html").read_text()
    page = html_of(trained)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(page.attributes("aria-labelledby")) <= set(ids)
    inside = {target[1:] for target in page.attributes("xlink:href") if target.startswith("#")}
    assert set(re.findall(r"url\(#([^)]+)\)", text)) | inside <= set(ids)
    assert [a.get("role") for tag, a in page.tags if tag == "figure"] == ["img"] * len(PICTURES)
    assert all(len(a["aria-label"]) > 40 for tag, a in page.tags if tag == "figure")
    assert {a.get("scope") for tag, a in page.tags if tag == "th"} == {"col", "row"}


def test_figures_follow_the_colours_of_the_page(trained):
    text = (trained / "report.html").read_text()
    drawings = dict(zip(PICTURES, re.findall(r"<svg.*?</svg>", text, re.DOTALL), strict=True))
    for name, drawing in drawings.items():
        assert "var(--muted)" in drawing
        assert ("var(--accent)" in drawing) == (name in ("differences", "curves"))
        assert ("var(--ink)" in drawing) == (name in ("differences", "curves", "confusion"))
        own = set(re.findall(r"#[0-9a-f]{6}\b", drawing)) - {"#000000", "#ffffff"}
        # Cells have colours of their own, none of them the page's.
        assert bool(own) == (name == "confusion")
        assert not own & {INK, MUTED, LINE, ACCENT, HARM}
    assert "fill: #0072b2" in (trained / "differences.svg").read_text()


def test_html_and_markdown_say_the_same(trained):
    html, markdown = html_of(trained), markdown_of(trained)
    assert html.tables == markdown.tables
    assert len(html.tables) == 13
    title, *said = [words for words in html.blocks if words]
    assert title == said[0] == markdown.blocks[0]
    assert [words for words in said if words not in markdown.blocks] == []
    assert html.facts[-4:] == ["100 training images", "3 epochs", "3 seeds", "1,297 test images"]
    assert " · ".join(html.facts) in markdown.blocks


def test_markdown_shows_every_picture(trained):
    pictures = [attributes for tag, attributes in markdown_of(trained).tags if tag == "img"]
    assert [picture["src"] for picture in pictures] == [f"{name}.png" for name in PICTURES]
    assert [picture["alt"] for picture in pictures] == html_of(trained).figures
    assert all((trained / picture["src"]).exists() for picture in pictures)


def test_the_numbers_are_those_of_the_summary(trained):
    summary = json.loads((trained / "summary.json").read_text())
    table = html_of(trained).tables[0]
    assert [row[0] for row in table[1:]] == ["none", "labels", "moex"]
    for word, error, difference, p, verdict, seeds in table[1:]:
        entry = summary["methods"][word]["metrics"]["error"]
        low, high = entry["ci95"]
        assert error.replace("\u2212", "-") == f"{entry['mean']:.2f} ({low:.2f} to {high:.2f})"
        assert int(seeds) == entry["n"]
        if word != "none":
            paired = summary["paired"][word]["metrics"]["error"]
            low, high = paired["difference_ci95_adjusted"]
            shown = f"{paired['difference_mean']:+.2f} ({low:+.2f} to {high:+.2f})"
            assert difference.replace("\u2212", "-") == shown
            assert p == f"{paired['p_adjusted']:.4f}"
            # Of two differences.
            assert paired["p_adjusted"] == pytest.approx(1 - (1 - paired["p_value"]) ** 2)
            assert verdict == {"gain": "gain", "harm": "harm", "not shown": "no"}[paired["outcome"]]
            assert (paired["outcome"] == "not shown") == (low < 0 < high) == (paired["p_adjusted"] > 0.05)
    assert html_of(trained).blocks[2].replace("\u2212", "-").replace("\u00a0", " ") == summary["conclusion"][0]


@pytest.mark.drawn
def test_a_summary_is_read_as_it_was_written(trained, tmp_path):
    summary = report.write(trained)
    assert read_summary(trained / "summary.json") == summary
    written = json.loads((trained / "summary.json").read_text())
    assert written["version"] == 2
    assert set(written["methods"]["none"]) == {"metrics", "seconds_mean", "collapsed", "mixed"}
    assert set(written["methods"]["none"]["metrics"]["error"]) == {"mean", "ci95", "n"}
    of_difference = {
        *(f"difference_{name}" for name in ("mean", "ci95", "ci95_adjusted", "ci95_these_images")),
        *("n", "df", "p_value", "p_adjusted", "outcome"),
    }
    assert set(written["paired"]["moex"]["metrics"]["error"]) == of_difference
    assert set(written["paired"]["moex"]["slowdown"]) == {"mean", "ci95", "n"}
    assert set(written["beyond_labels"]["moex"]) == {"labels", "difference", "share"}
    assert set(written["beyond_labels"]["moex"]["difference"]) == of_difference
    assert set(written["beyond_labels"]["moex"]["share"]) == {"mean", "ci95", "n"}
    write_summary(tmp_path / "summary.json", replace(summary, missing={"moex": (1,)}))
    assert read_summary(tmp_path / "summary.json").missing == {"moex": (1,)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 1}, "version 2; got version 1"),
        ({"command": "x"}, "got KeyError: 'x'"),
        ({"methods": 1}, "got Attr"),
    ],
)
def test_a_summary_that_is_not_ours_is_refused(trained, tmp_path, change, sentence):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(json.loads((trained / "summary.json").read_text()) | change))
    with pytest.raises(ValueError, match=sentence):
        read_summary(path)


def test_the_error_of_every_run_is_kept(trained):
    lines = (trained / "seeds.csv").read_text().splitlines()
    assert lines[0] == f"method,seed,{','.join(METRICS)},seconds"
    assert len(lines) == 1 + 9
    for line in lines[1:]:
        method, seed, error, *_, seconds = line.split(",")
        run = json.loads((trained / f"runs/{method}/seed{seed}/summary.json").read_text())
        assert (float(error), float(seconds)) == (run["error"], run["seconds"])


def test_the_slowdown_is_the_geometric_mean_of_ratios_paired_by_seed(folder):
    seconds = {"none": [1.0, 2.0, 4.0], "moex": [2.0, 2.0, 12.0]}
    for word, of_seeds in seconds.items():
        for seed, value in enumerate(of_seeds):
            edit(folder / f"runs/{word}/seed{seed}/summary.json", lambda summary, v=value: summary.update(seconds=v))
    entry = report.write(folder).paired["moex"].slowdown
    logs = np.log([2.0, 1.0, 3.0])
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=logs.std(ddof=1) / 3**0.5)
    assert entry.mean == pytest.approx(6 ** (1 / 3))
    assert entry.ci95 == pytest.approx([np.exp(low), np.exp(high)])
    (table,) = [table for table in html_of(folder).tables if table[0][1] == "Seconds a run"]
    assert table[3][2].startswith("1.82 (")


def test_a_report_may_be_judged_by_another_metric_and_says_so(folder, capsys):
    before = report.write(folder)
    assert main(["report", str(folder), "--metric", "log-loss"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "log loss 1/100 nat" in said
    assert "The comparison was begun with the metric error; log-loss was chosen for this report alone." in said
    page = html_of(folder)
    assert any("log-loss was chosen for this report alone" in words for words in page.blocks)
    assert page.tables[0][0][1] == "Test log loss, 1/100 nat"
    assert json.loads((folder / "comparison.json").read_text())["settings"]["metric"] == "error"
    assert report.write(folder) == before


def test_the_other_metrics_stand_beside_the_one_that_is_compared(trained):
    summary = json.loads((trained / "summary.json").read_text())
    table = next(table for table in html_of(trained).tables if table[0][0] == "Metric")
    assert [row[:2] for row in table[1:]] == [
        [name, method] for metric, name in NAMES.items() if metric != "error" for method in summary["methods"]
    ]
    row = next(row for row in table if row[:2] == ["calibration error", "moex"])
    found = summary["methods"]["moex"]["metrics"]["calibration"], summary["paired"]["moex"]["metrics"]["calibration"]
    assert number(row[2]) == pytest.approx(found[0]["mean"], abs=0.005)
    assert number(row[3]) == pytest.approx(found[1]["difference_mean"], abs=0.005)


@pytest.mark.drawn
def test_words_of_a_user_are_shown_as_they_are(folder):
    # A slash is all that a method spec may not have.
    spec = f"moex:at={NASTY.replace('/', '')}"
    rename(folder, "moex", spec)
    set_everywhere(folder, data=f"mine:{NASTY}")
    edit(
        folder / "comparison.json",
        lambda record: record["history"][0].update(command=["torchmoments", "compare", spec]),
    )
    edit(folder / "images.json", lambda record: record["classes"].__setitem__(0, NASTY))
    edit(folder / "images.json", lambda record: record.update(files=[NASTY] * 1297))
    fail(folder, "labels", 1, f"ValueError: {NASTY}")
    for value, path in enumerate(sorted(folder.glob("runs/*/*/env.json"))):
        edit(path, lambda env, v=value: env.update(cpu=f"{NASTY} {v % 2}"))
    report.write(folder)
    shown, shown_spec = " ".join(NASTY.split()), " ".join(spec.split())
    html, markdown = html_of(folder), markdown_of(folder)
    assert "script" not in {tag for tag, _ in html.tags + markdown.tags}
    assert {"em", "strong", "a", "s"} & {tag for tag, _ in markdown.tags} == {"strong"}
    assert html.tables == markdown.tables
    assert html.tables[0][3][0] == shown_spec
    (of_classes,) = [table for table in html.tables if table[0][0] == "Class"]
    assert (of_classes[0][-1], of_classes[1][0]) == (shown_spec, shown)
    assert {row[0] for table in html.tables if table[0][0] == "Image" for row in table[1:]} == {shown}
    assert f"ValueError: {shown}" in [row[-1] for table in html.tables for row in table]
    assert html.blocks[0] == f"mine:{shown}: labels, {shown_spec} against none"
    assert f"{shown_spec} is better in" in html.attributes("aria-label")[1]
    assert sum(tag == "svg" for tag, _ in html.tags) == len(PICTURES)
    code = next(words for words in html.blocks if words.startswith("torchmoments compare"))
    assert code in [words for words in markdown.blocks if words.startswith("torchmoments compare")]
    assert shlex.split(code) == ["torchmoments", "compare", spec]
    svg = (folder / "differences.svg").read_text()
    assert "<script" not in svg


def test_the_commands_of_a_report_ask_for_the_same_again(tmp_path, monkeypatch):
    asked = []
    methods, out = ("none", "moex:p=1,at=stem+layer1"), tmp_path / "my runs"
    # A report has a value for each of those that depend on the model and the data.
    filled = {"optimizer": "sgd", "weight_decay": 5e-4, "warmup_epochs": 0, "schedule_every": "epoch"}
    filled |= {"mean": (0.30625,), "std": (0.375,)}
    first = Compare().with_values(
        train_size=50, epochs=1, width=4, lr=1e-3, methods=methods, seeds=1, workers=1, out=out, **filled
    )
    compare(first)
    compare(first.with_values(methods=("none",), seeds=2))
    monkeypatch.setattr("torchmoments_lab.cli._compare", lambda config: asked.append(config) or 0)
    commands = [words for words in html_of(out).blocks if words.startswith("torchmoments")]
    for shown in commands:
        assert main(shlex.split(shown.replace("\\\n", ""))[1:]) == 0
    assert asked == [first, first.with_values(methods=("none",), seeds=2)]


def test_settings_of_every_kind_become_flags():
    request = Compare().with_values(augment=True, methods=("none", "moex:p=1"), width=8, out="my runs")
    arguments = command(request, {"epochs": 60})
    assert arguments[:2] == ["torchmoments", "compare"]
    for flag in ("--augment", "--no-compile", "--epochs 60", "--methods none moex:p=1", "--width 8", "--nesterov"):
        words = flag.split()
        start = arguments.index(words[0])
        assert arguments[start : start + len(words)] == words
    assert arguments[-2:] == ["--out", "my runs"]
    assert not {"--weights", "--workers", "--lr"} & set(arguments)


def test_a_command_without_planned_looks_does_not_name_them():
    assert not {"--looks", "--stop-at"} & set(command(Compare(), {}))


@pytest.mark.parametrize(
    "runs", [{"seeds": 3}, {"seeds": "10..40"}, {"seeds": "10..40", "looks": (10, 25), "stop_at": 0.3}]
)
def test_the_command_of_a_plan_asks_for_it_again(monkeypatch, runs):
    asked, request = [], Compare().with_values(**runs)
    monkeypatch.setattr("torchmoments_lab.cli._compare", lambda config: asked.append(config) or 0)
    assert main(command(request, {})[1:]) == 0
    assert asked == [request]


@pytest.mark.drawn
def test_missing_and_failed_runs_are_told_and_the_rest_is_reported(folder):
    shutil.rmtree(folder / "runs/labels/seed0")
    shutil.rmtree(folder / "runs/labels/seed1")
    fail(folder, "moex", 2, "the loss needs to stay finite")
    summary = report.write(folder)
    assert summary.missing == {"labels": (0, 1)}
    assert {name: error.n for name, error in summary.errors.items()} == {"none": 3, "labels": 1, "moex": 2}
    page = html_of(folder)
    said = "6 of 9 runs are complete: 1 failed and 2 not trained yet. Each difference is over the seeds that both have."
    assert said in page.blocks
    assert said in summary.conclusion
    assert [["moex", "2", "the loss needs to stay finite"], ["labels", "0\u20131", "not trained yet"]] in [
        table[1:] for table in page.tables
    ]


@pytest.mark.drawn
def test_a_method_without_any_run_and_a_reference_alone_are_reported(folder):
    shutil.rmtree(folder / "runs/moex")
    assert report.write(folder).differences["moex"].mean is None
    assert html_of(folder).tables[0][3] == ["moex", NONE, NONE, NONE, "no paired runs", "0"]

    def alone(record):
        record["methods"] = ["none"]
        record["history"] = [{**record["history"][0], "methods": ["none"]}]

    edit(folder / "comparison.json", alone)
    assert report.write(folder).conclusion == ("Only none was trained, so there is nothing to compare it with.",)
    assert html_of(folder).tables[0][0] == ["Method", "Test error, %", "Seeds"]


def test_a_later_extension_is_told(folder):
    edit(folder / "comparison.json", lambda record: record["history"].append({**record["history"][0], "seeds": 4}))
    report.write(folder)
    page = html_of(folder)
    (told,) = [words for words in page.blocks if "Seeds were added without a plan (3, 4)," in words]
    assert "the intervals and p of labels and moex hold however often one looks" in told
    assert [row[2] for row in page.tables[-1]] == ["Seeds", "3", "4"]


def judge_by(out, metric):
    """Change the metric, and what runs say of theirs, as if they had been judged by it."""
    set_everywhere(out, metric=metric)
    for path in out.glob("runs/*/*/predictions.npy"):
        found = score(metric, np.load(path))
        edit(path.with_name("summary.json"), lambda summary, value=found: summary.update(error=value))


def test_another_metric_is_named_and_the_error_is_kept_beside_it(folder, capsys):
    judge_by(folder, "auroc")
    assert main(["report", str(folder)]) == 0
    (headings,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("method ")]
    assert "AUROC error %" in headings
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["covers_images"]
    assert list(summary["paired"]["moex"]["metrics"]) == list(summary["methods"]["moex"]["metrics"]) == list(METRICS)
    for word in ("none", "moex"):
        runs = [np.load(folder / f"runs/{word}/seed{seed}/predictions.npy") for seed in range(3)]
        wrong = [100 * np.mean(rows["target"] != rows["predicted"]) for rows in runs]
        areas = [
            np.mean([roc_auc_score(rows["target"] == label, rows["scores"][:, label]) for label in range(10)])
            for rows in runs
        ]
        of_method = summary["methods"][word]["metrics"]
        assert of_method["error"]["mean"] == pytest.approx(np.mean(wrong))
        assert of_method["auroc"]["mean"] == pytest.approx(100 * (1 - np.mean(areas)))
    page = html_of(folder)
    assert page.tables[0][0][1] == "Test AUROC error, %"
    assert number(page.tables[0][1][1]) == pytest.approx(
        summary["methods"]["none"]["metrics"]["auroc"]["mean"], abs=0.005
    )
    assert any("100 times (1 - AUROC)" in words for words in page.blocks)


@pytest.mark.parametrize("metric", ["error", "balanced-error", "auroc"])
def test_with_one_image_of_a_class_the_intervals_are_for_these_images_alone(folder, metric):
    # It would be of other images.
    (folder / "images.json").unlink()
    for path in folder.glob("runs/*/*/predictions.npy"):
        rows = np.load(path)
        nines = np.flatnonzero(rows["target"] == 9)
        np.save(path, np.delete(rows, nines[1:]))
    judge_by(folder, metric)
    summary = report.write(folder)
    alone = "A class has a single one of the images, so the intervals are for these images alone."
    assert (alone in summary.conclusion) == (not summary.covers_images) == (metric != "error")
    found = summary.differences["moex"]
    errors = {word: [score_of(folder, word, seed) for seed in range(3)] for word in ("none", "moex")}
    minus = np.subtract(errors["moex"], errors["none"])
    half = stats.t.ppf(0.975, 2) * minus.std(ddof=1) / 3**0.5
    of_seeds = pytest.approx((minus.mean() - half, minus.mean() + half))
    assert found.ci95_these_images == found.ci95_adjusted or metric == "error"
    assert (found.ci95 == of_seeds) == (metric != "error")
    if metric != "error":
        images = f"{summary.images:,} test images alone"
        assert (
            f"The intervals cover other training subsets and initializations, on these {images}." in summary.conclusion
        )
        assert summary.paired["moex"].needed.images is None


def score_of(out, word, seed):
    return json.loads((out / f"runs/{word}/seed{seed}/summary.json").read_text())["error"]


def test_an_interval_is_for_other_seeds_and_other_images(folder):
    """Counted run by run and image by image."""
    found = report.write(folder).differences["moex"]
    wrong = {}
    for word in ("none", "moex"):
        runs = [np.load(folder / f"runs/{word}/seed{seed}/predictions.npy") for seed in range(3)]
        wrong[word] = [[100 * float(t != p) for t, p in zip(r["target"], r["predicted"], strict=True)] for r in runs]
    d = [[m - n for m, n in zip(*pair, strict=True)] for pair in zip(wrong["moex"], wrong["none"], strict=True)]
    seeds, images = 3, len(d[0])
    of_seed = [statistics.fmean(row) for row in d]
    of_image = [statistics.fmean(column) for column in zip(*d, strict=True)]
    mean = statistics.fmean(of_seed)
    vs, vi = statistics.variance(of_seed) / seeds, statistics.variance(of_image) / images
    rest = sum((d[s][i] - of_seed[s] - of_image[i] + mean) ** 2 for s in range(seeds) for i in range(images))
    ve = rest / ((seeds - 1) * (images - 1)) / (seeds * images)
    v = max(vs, vi, vs + vi - ve)
    df = v**2 / (vs**2 / (seeds - 1) + vi**2 / (images - 1) + ve**2 / ((seeds - 1) * (images - 1)))
    half = stats.t.ppf(0.975, df) * v**0.5
    assert found.mean == pytest.approx(mean)
    assert found.df == pytest.approx(df)
    assert found.ci95 == pytest.approx((mean - half, mean + half))
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / v**0.5, df))
    # One of two.
    half = stats.t.ppf(1 - (1 - 0.95**0.5) / 2, df) * v**0.5
    assert found.ci95_adjusted == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        (
            (3, 6),
            "Intervals and p allow for the planned looks at 3, 6 seeds. moex is not decided yet: rerun the command.",
        ),
        ((2, 3), "Intervals and p allow for the planned looks at 2, 3 seeds."),
    ],
)
def test_planned_looks_are_told_beside_the_conclusion(trained, looks, told):
    comparison = read_comparison(trained)
    summary = summarize(comparison)
    open_yet = replace(summary.paired["moex"], hopeless=False, look=3)
    unsure = {"error": Difference(-1.0, (-2.5, 0.5), 3, 2.0, 0.1, 0.2, (-3.0, 1.0), (-2.0, 0.0), "not shown")}
    paired = {"moex": replace(open_yet, metrics=unsure)}
    page = contents.page(comparison, replace(summary, paired=paired, beyond_labels={}, looks=looks))
    assert any(note.words.startswith(told) for note in page.notes)


def test_several_environments_are_counted(folder):
    edit(folder / "runs/moex/seed0/env.json", lambda env: env.update(torch="9.9"))
    report.write(folder)
    (row,) = [row for table in html_of(folder).tables for row in table if row[0] == "torch"]
    assert "(8 runs)" in row[1]
    assert "9.9 (1 run)" in row[1]


DAMAGE = [
    ("comparison.json", b"{"),
    ("comparison.json", b"[]"),
    (
        "comparison.json",
        b'{"settings": {"lr": NaN}, "methods": ["none"], "history": [{"methods": ["none"], "seeds": 3}]}',
    ),
    ("comparison.json", b'{"settings": {}, "methods": [], "history": []}'),
    ("comparison.json", b'{"settings": {}, "methods": ["none"], "history": [{"methods": ["moex"], "seeds": 1}]}'),
    ("comparison.json", b'{"settings": {}, "methods": ["none"], "history": [{"methods": ["none"]}]}'),
    ("comparison.json", b'{"settings": [], "methods": ["none"], "history": []}'),
    (
        "comparison.json",
        b'{"settings": {}, "methods": ["none"], "history": [{"methods": ["none"], "seeds": 3}], "looks": [2, 4]}',
    ),
    (
        "comparison.json",
        b'{"settings": {}, "methods": ["none", "moex"], "looks": [2, 4], '
        b'"history": [{"methods": ["none"], "seeds": 2}]}',
    ),
]
DAMAGE_OF_A_RUN = [
    ("runs/moex/seed1/summary.json", b'{"method": "moex"'),
    ("runs/moex/seed1/summary.json", b"\xff\xfe"),
    ("runs/moex/seed1/summary.json", None),
    ("runs/moex/seed1/summary.json", b'{"method": "moex", "seed": 1, "error": NaN, "seconds": 1}'),
    ("runs/moex/seed1/summary.json", b'{"method": "moex", "seed": 2, "error": 1, "seconds": 1}'),
    ("runs/moex/seed1/summary.json", b'{"method": "moex", "seed": 1, "error": 1%s, "seconds": 1}' % (b"0" * 400)),
    ("runs/moex/seed1/summary.json", b'{"method": "moex", "seed": 1, "error": true, "seconds": 1}'),
    ("runs/moex/seed1/config.json", b"7"),
    ("runs/moex/seed1/config.json", b'{"epochs": 4}'),
    ("runs/moex/seed1/env.json", None),
    ("runs/moex/seed1/predictions.npy", None),
    ("runs/moex/seed1/predictions.npy", b""),
    ("runs/moex/seed1/predictions.npy", b"\x93NUMPY\x01\x00"),
    ("runs/moex/seed1/metrics.csv", None),
    ("runs/moex/seed1/metrics.csv", b""),
    ("runs/moex/seed1/metrics.csv", b"epoch,loss\n1,0.5\n2,0.4\n"),
    ("runs/moex/seed1/metrics.csv", b"epoch,loss\n1,0.5\n2,zero\n3,0.1\n"),
    ("runs/moex/seed1/metrics.csv", b"epoch,loss\n1,0.5\n2\n3,0.1\n"),
    ("runs/moex/seed1/metrics.csv", b"epoch,loss\n1,0.5\n2,nan\n3,0.1\n"),
]


@pytest.mark.parametrize(("name", "content"), DAMAGE)
def test_a_damaged_record_is_named_with_what_is_there_and_nothing_is_written(folder, capsys, name, content):
    (folder / name).write_bytes(content)
    before = files_of(folder)
    assert main(["report", str(folder)]) == 2
    told = capsys.readouterr()
    assert f"'{folder / name}' is damaged" in told.err
    assert "Remove it and run the command that made the folder again" in told.err
    assert told.err.endswith(" Complete runs in the folder: 9.\n")
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert files_of(folder) == before


@pytest.mark.parametrize(("name", "content"), DAMAGE_OF_A_RUN)
def test_a_damaged_run_is_named_and_the_others_are_read(folder, name, content):
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    comparison = read_comparison(folder)
    assert {word: len(runs) for word, runs in comparison.runs.items()} == {"none": 3, "labels": 3, "moex": 2}
    (failed,) = comparison.failed
    assert (failed.method, failed.seed) == ("moex", 1)
    assert f"'{path}' is damaged" in failed.reason
    assert f"Delete the folder '{path.parent}' and run the command that made it again" in failed.reason


def test_a_damaged_run_is_told_and_the_others_are_reported(folder, capsys):
    (folder / "runs/moex/seed1/metrics.csv").write_bytes(b"")
    assert main(["report", str(folder)]) == 1
    summary = json.loads((folder / "summary.json").read_text())
    assert {word: entry["metrics"]["error"]["n"] for word, entry in summary["methods"].items()} == {
        "none": 3,
        "labels": 3,
        "moex": 2,
    }
    assert [(failed["method"], failed["seed"]) for failed in summary["failed"]] == [("moex", 1)]
    assert "moex seed 1 failed: results need whole files" in " ".join(capsys.readouterr().out.split())


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_in_the_place_of_predictions_is_not_loaded(folder, tmp_path, capsys):
    bomb = np.array([Bomb(str(tmp_path / "exploded"))], dtype=object)
    np.save(folder / "runs/moex/seed1/predictions.npy", bomb, allow_pickle=True)
    assert main(["report", str(folder)]) == 1
    (failed,) = json.loads((folder / "summary.json").read_text())["failed"]
    assert "predictions.npy' is damaged" in failed["reason"]
    # NumPy's own sentence recommends to load it unsafely.
    assert "allow_pickle" not in failed["reason"]
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("word", ["none", "moex"])
def test_runs_on_other_test_images_are_refused(folder, word):
    path = folder / f"runs/{word}/seed0/predictions.npy"
    rows = np.load(path)[1:]
    np.save(path, rows)
    wrong = 100 * np.mean(rows["target"] != rows["predicted"])
    edit(path.with_name("summary.json"), lambda summary: summary.update(error=wrong))
    said = f"those in '{path}' differ from those of 8 of 9 runs. Delete the folder '{path.parent}'"
    with pytest.raises(ValueError, match=re.escape(said)):
        report.write(folder)


@pytest.mark.parametrize(("name", "value"), [("target", -1), ("target", 10), ("target", 10**9), ("predicted", 77)])
def test_a_class_that_there_is_not_is_damage(folder, name, value):
    path = folder / "runs/moex/seed1/predictions.npy"
    rows = np.load(path)
    right = rows["target"] == rows["predicted"]
    rows[name][np.flatnonzero(~right)[0]] = value
    np.save(path, rows)
    (failed,) = read_comparison(folder).failed
    assert f"'{path}' is damaged: ValueError: its {name} is no class" in failed.reason


def test_what_is_no_comparison_or_has_no_complete_run_is_refused(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for word in ("none", "labels", "moex"):
        for seed in range(3):
            fail(folder, word, seed, "no")
    before = files_of(folder)
    for out, sentence in [
        (tmp_path / "nowhere", "which is no folder"),
        (tmp_path / "empty", "which holds no comparison.json"),
        (folder / "report.md", "which is no folder"),
        (folder, "report needs a complete run"),
    ]:
        assert main(["report", str(out)]) == 2
        told = capsys.readouterr()
        assert sentence in told.err
        assert told.err.count("\n") == 1
    assert files_of(folder) == before


def test_a_folder_that_cannot_be_written_is_told(folder, capsys):
    # Root may write anywhere, but not a file in the place of a folder.
    (folder / "report.html").unlink(missing_ok=True)
    (folder / "report.html").mkdir()
    assert main(["report", str(folder)]) == 2
    assert "report needs a folder that can be written" in capsys.readouterr().err


def test_the_terminal_ends_with_the_path_of_the_report(folder, capsys):
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(str(folder / "report.html"))


def test_a_report_is_made_without_pytorch(folder):
    program = (
        "import sys; from torchmoments_lab.cli import main\n"
        f"code = main(['report', {str(folder)!r}])\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "0 False\n"


def test_the_share_of_the_labels_is_that_of_the_seeds_that_all_three_have(folder):
    shutil.rmtree(folder / "runs/labels/seed1")
    found = report.write(folder).beyond_labels["moex"]
    errors = {word: [score_of(folder, word, seed) for seed in (0, 2)] for word in ("none", "labels", "moex")}
    none, labels, moex = (sum(of) / 2 for of in errors.values())
    assert found.labels == "labels"
    assert (found.share.mean, found.share.n) == (pytest.approx((labels - none) / (moex - none)), 2)
    assert (found.difference.mean, found.difference.n) == (pytest.approx(moex - labels), 2)


def test_the_title_names_a_folder_of_images_without_the_way_to_it(folder):
    set_everywhere(folder, data=f"folder:{folder}/cats and dogs")
    report.write(folder)
    (title,) = re.findall(r"<title>(.*)</title>", (folder / "report.html").read_text())
    assert title == "cats and dogs: labels, moex against none"
    assert [data_name(data) for data in ("digits", "mine:make_data", "folder:.", "folder:a/", "domains:b/a")] == [
        "digits",
        "mine:make_data",
        "folder:.",
        "a",
        "a",
    ]


def test_each_number_carries_its_heading_for_screens_without_room_for_columns(trained):
    html = html_of(trained)
    for table in html.tables:
        headings, *rows = table
        for row in rows:
            assert len(row) == len(headings)
    of_results = html.attributes("data-heading")[:5]
    assert of_results == ["Test error, %", "Minus none, points", "p, adjusted", "Difference shown", "Seeds"]
    metric = html.attributes("data-heading").index("Metric")
    assert html.attributes("data-heading")[metric : metric + 4] == ["Metric", "Method", "Value", "Minus none"]


def test_a_long_spec_may_go_on_in_the_next_line_between_its_options():
    spec = "moex:norm=in,lam=0.5,at=layer1"
    words = f"No difference for {spec} <b> is shown."
    page = Page(
        title="t", conclusion=words, sections=[Section("s", [Table("c", ["Method", "x"], [[spec, "1"]])])], end=""
    )
    shown = render.html(page)
    broken = "moex:<wbr>norm=in,<wbr>lam=0.5,<wbr>at=layer1"
    assert f"No difference for {broken} &lt;b&gt; is shown." in shown
    assert f'<th scope="row">{broken}</th>' in shown
