"""What a probe shows: summary.json, table.md, probe.png, probe.svg; and the terminal's table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from torchmoments_lab.files import as_csv, read_record, write_bytes, write_json, write_text
from torchmoments_lab.probe.config import ProbeConfig
from torchmoments_lab.report import render, rows
from torchmoments_lab.report.figures import ACCENT, INK, MUTED, WIDE, as_files
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.summary import distinct
from torchmoments_lab.report.wording import failed, p_value, plus_minus, with_interval
from torchmoments_lab.runs import Run
from torchmoments_lab.statistics import Interval, add_holm, estimate, interval_with_images

Errors = dict[str, dict[int, float]]
_PARTS = ("moments", "normalized", "features")


def write(config: ProbeConfig, settings: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """Read the runs, write the files to the folder, and give what summary.json holds."""
    summary = summarize(config.norms, runs) | {"settings": settings}
    summary["conclusion"] = sentences(summary, config.norms)
    write_json(config.out / "summary.json", summary)
    write_text(config.out / "table.md", render.table(table(summary, config.norms)) + "\n")
    write_text(config.out / "seeds.csv", as_csv(_seed_rows(runs)))
    for kind, content in as_files(lambda: figure(summary, config.norms)).items():
        write_bytes(config.out / f"probe.{kind}", content)
    return summary


def summarize(norms: Sequence[str], runs: Sequence[Run]) -> dict[str, Any]:
    """The statistics.

    Returns:
        NORM: {random, moments, normalized, features: {error_mean, error_ci95, n}} for each norm; errors in percent.
            random is the error of always naming the most frequent class of the training images. moments and normalized
            also have minus_features: {difference_mean, difference_ci95, p_value, p_holm, n}, paired by seed;
            p_holm counts both for all norms. moments also have minus_random_ci95_with_images
        plain: the same of the network trained as usual; None where it was not trained
        images, environments, failed: as in a comparison

        What is undefined is None.
    """
    errors, failures, environments, images = _read(runs)
    frequent = _most_frequent(runs)
    targets = runs[0].task.load().test.labels.numpy()
    random = {seed: 100 * float(np.mean(targets != label)) for seed, label in frequent.items()}
    found: dict[str, Any] = {
        norm: {
            "random": _error(random),
            **{part: _part(errors, part, norm) for part in _PARTS},
        }
        for norm in norms
    }
    for norm in norms:
        known = _minus_random(runs, f"moments:norm={norm}", frequent)
        found[norm]["moments"]["minus_random_ci95_with_images"] = known
    add_holm(found[norm][part]["minus_features"] for norm in norms for part in _PARTS[:2])
    plain = errors.get("none")
    return found | {
        "plain": _error(plain) if plain else None,
        "images": images,
        "environments": environments,
        "failed": failures,
    }


def table(summary: dict[str, Any], norms: Sequence[str]) -> Table:
    """One row for each norm and what the rest of the network sees of the features."""
    body = []
    for norm in norms:
        for part in ("random", *_PARTS):
            entry = summary[norm][part]
            minus = entry.get("minus_features")
            compared = ["", ""]
            if minus is not None:
                compared = [
                    plus_minus(minus["difference_mean"], minus["difference_ci95"], "+"),
                    p_value(minus["p_holm"]),
                ]
            body.append(
                [norm, _NAMES[part], plus_minus(entry["error_mean"], entry["error_ci95"]), *compared, str(entry["n"])]
            )
    where = f"at {summary['settings']['at']}" if "settings" in summary else ""
    caption = f"Error on {summary['images'] or 0:,} images, mean over seeds ± 95% CI, {where}"
    return Table(caption, ["norm", "what is seen", "error, %", "minus features, points", "p Holm", "n"], body)


_NAMES = {
    "random": "nothing (chance)",
    "moments": "moments alone",
    "normalized": "normalized alone",
    "features": "features",
}


def sentences(summary: dict[str, Any], norms: Sequence[str]) -> list[str]:
    """Both halves of the paper's claim, for each norm."""
    said = []
    for norm in norms:
        entry = summary[norm]
        moments, chance, normalized = entry["moments"], entry["random"], entry["normalized"].get("minus_features")
        if moments["error_mean"] is None or chance["error_mean"] is None:
            said.append(f"{norm}: no complete run.")
            continue
        # Seeds alone would not do: they share the test images, and often the training images.
        ci95 = moments["minus_random_ci95_with_images"]
        known = ci95 is not None and ci95[1] < 0
        verdict = "they know the class" if known else "not shown that they know the class"
        if ci95 is None:
            verdict = "one seed, or seeds without spread, give no interval, so whether they know the class is not said"
        said.append(
            f"{norm}: with the moments alone the error is {moments['error_mean']:.1f}%, chance is "
            f"{chance['error_mean']:.1f}%: {verdict}."
        )
        if normalized is None or normalized["difference_mean"] is None:
            continue
        by = with_interval(normalized["difference_mean"], normalized["difference_ci95"], "+")
        shown = normalized["p_holm"] is not None and normalized["p_holm"] < 0.05
        worse = "lose" if normalized["difference_mean"] > 0 else "gain"
        said.append(
            f"{norm}: without their moments the features {worse if shown else 'are not shown to lose'} "
            f"{'' if shown else 'anything: '}{by} points (p Holm {p_value(normalized['p_holm'])})."
        )
    said += map(failed, summary["failed"])
    return said


def figure(summary: dict[str, Any], norms: Sequence[str]) -> Figure:
    """One row for each norm and part, on a logarithmic axis."""
    entries = [(norm, part, summary[norm][part]) for norm in norms for part in ("random", *_PARTS)]
    height = rows.HEAD + rows.ROW * len(entries) + rows.FOOT
    drawn = Figure(figsize=(WIDE / 72, height / 72))
    room = 0.34 * WIDE
    axes = rows.strip(drawn, len(entries), height - rows.HEAD, room, zero=False)
    axes.set_xscale("log")
    for row, (norm, part, entry) in enumerate(entries):
        rows.words(axes, row, [norm if part == "random" else "", _NAMES[part]], room, INK)
        color = MUTED if part == "random" else ACCENT
        rows.interval(axes, row, entry["error_mean"], entry["error_ci95"], color, sign="")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("error, %, on a logarithmic axis; mean over seeds with 95% CI", color=MUTED)
    return drawn


def _part(errors: Errors, part: str, norm: str) -> dict[str, Any]:
    features = errors.get("features", {})
    if part == "features":
        return _error(features)
    own = errors.get(f"{part}:norm={norm}", {})
    difference = estimate([error - features[seed] for seed, error in own.items() if seed in features])
    minus = {
        **difference.named("difference"),
        "p_value": difference.p_value,
        "n": difference.n,
    }
    return _error(own) | {"minus_features": minus}


def _error(errors: dict[int, float]) -> dict[str, Any]:
    error = estimate(list(errors.values()))
    return {**error.named("error"), "n": error.n}


def _read(runs: Sequence[Run]) -> tuple[Errors, list[dict[str, Any]], list[dict[str, Any]], int | None]:
    errors: Errors = {}
    failures, environments = [], []
    images = None
    for run in runs:
        summary = read_record(run.folder / "summary.json")
        if summary is None:
            continue
        if "failed" in summary:
            failures.append({"method": run.method, "seed": run.seed, "reason": summary["failed"]})
            continue
        errors.setdefault(run.method, {})[run.seed] = summary["error"]
        environments.append(read_record(run.folder / "env.json") or {})
        images = images or len(np.load(run.folder / "predictions.npy"))
    return errors, failures, distinct(environments), images


def _seed_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a run: what it saw, and its error."""
    errors, *_ = _read(runs)
    return [{"sees": word, "seed": seed, "error": error} for word, of in errors.items() for seed, error in of.items()]


def _most_frequent(runs: Sequence[Run]) -> dict[int, int]:
    """{seed: the most frequent class of its training images}."""
    data = runs[0].task.load()
    labels = data.train.labels.numpy()
    sizes = {run.seed: run.task.config.train_size or 0 for run in runs}
    return {seed: int(np.bincount(labels[data.subset(size, seed).numpy()]).argmax()) for seed, size in sizes.items()}


def _minus_random(runs: Sequence[Run], word: str, frequent: dict[int, int]) -> Interval | None:
    """95% interval of the error minus that of naming the most frequent class, for other test images too."""
    differences = []
    for run in runs:
        if run.method == word and run.is_complete():
            rows = np.load(run.folder / "predictions.npy")
            wrong, by_chance = rows["target"] != rows["predicted"], rows["target"] != frequent[run.seed]
            differences.append(100.0 * wrong - 100.0 * by_chance)
    return interval_with_images(np.array(differences)) if differences else None
