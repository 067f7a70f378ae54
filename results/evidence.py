"""What the studies show together, from the committed predictions of their runs alone: parts of docs/results.md.

    python results/evidence.py        results/evidence/: tables in Markdown, pictures, and evidence.json

Differences are judged as in a report: for other seeds and other test images, those of a table together. A mean over
data sets is for other data sets, see `torchmoments_lab.statistics.pooled`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from matplotlib.figure import Figure

from torchmoments_lab.files import write_bytes, write_text
from torchmoments_lab.report import wording
from torchmoments_lab.report.bars import Bar, Bars, bars
from torchmoments_lab.report.drawing import ACCENT, INK, MUTED, draw
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.render import table as in_markdown
from torchmoments_lab.statistics.crossed import spread
from torchmoments_lab.statistics.pooled import Pooled, pooled
from torchmoments_lab.statistics.several import difference, differences
from torchmoments_lab.statistics.values import Difference, Estimate

RESULTS = Path(__file__).resolve().parent
OUT = RESULTS / "evidence"

# {words of a data set: its study}, one each: what share their test images are no two samples.
DATA_SETS = {
    "digits, 200": "methods-digits",
    "Fashion-MNIST, 1,000": "moex-fashion",
    "solar cells, 200, fine-tuned": "elpv-200",
    "vowels, 270": "settings-vowels",
    "a watch's motion, 864": "settings-watch",
    "silhouettes, 200": "settings-animals",
    "emoji, 300": "companies-within",
    "spoken words, 200, new accent": "speech-across",
}
# Of the hypothesis on lam: {words: study}.
CONFIRMED_ON = {
    "vowels": "settings-vowels",
    "a watch's motion": "settings-watch",
    "silhouettes": "settings-animals",
    "Fashion-MNIST, 400": "settings-fashion",
    "solar cells, fine-tuned": "settings-elpv",
}
HYPOTHESES = {
    "moex:lam=0.5 − moex": ("moex:lam=0.5", "moex"),
    "moex:norm=in,lam=0.5 − moex:norm=in": ("moex:norm=in,lam=0.5", "moex:norm=in"),
    "moex:lam=0.5 − labels:lam=0.5": ("moex:lam=0.5", "labels:lam=0.5"),
    "moex:norm=in,lam=0.5 − labels:lam=0.5": ("moex:norm=in,lam=0.5", "labels:lam=0.5"),
}
# {what differs from MoEx: the method}
CONTROLS = {
    "no mixing": "none",
    "labels alone": "labels",
    "labels of another partner": "moex:label_from=other",
    "random moments, labels mixed": "random-moments:lam=0.9",
    "partners of the same class": "moex:partner=same-group",
    "labels kept": "moex:lam=1",
    "label smoothing 0.05": "smooth:amount=0.05",
}
WIDTHS = (4, 16)


@dataclass(frozen=True)
class Row:
    """A difference, and how it is written."""

    words: tuple[str, ...]
    found: Difference


def wrong(study: str, spec: str, part: str = "") -> dict[int, np.ndarray]:
    """{seed: of each test image 100 if the run took it for another class, and 0 if not}.

    Args:
        part: the folder of a sweep's combination; none in a comparison.
    """
    targets, runs, predicted = _predictions(study)
    prefix = f"{part}/runs/" if part else "runs/"
    found = {}
    for path, classes in zip(runs, predicted, strict=True):
        folder, _, seed = path.removeprefix(prefix).rpartition("/seed")
        if path.startswith(prefix) and unquote(folder) == spec:
            found[int(seed)] = 100.0 * (classes != targets)
    return found


def paired(study: str, spec: str, other: str, part: str = "") -> np.ndarray:
    """Scores of one method minus those of another, [seeds that both have, images]."""
    first, second = wrong(study, spec, part), wrong(study, other, part)
    seeds = sorted(first.keys() & second.keys())
    return np.array([first[seed] - second[seed] for seed in seeds])


@lru_cache(maxsize=None)
def _predictions(study: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    with np.load(RESULTS / study / "predictions.npz") as file:
        return file["targets"], file["runs"].tolist(), file["predicted"]


def is_there(study: str) -> bool:
    return (RESULTS / study / "predictions.npz").exists()


def over_data_sets() -> tuple[list[Row], dict[str, Pooled]]:
    """On every data set MoEx and its labels alone minus plain training, and MoEx minus its labels; the means of each."""
    rows, means = [], {}
    pairs = {"moex − none": ("moex", "none"), "labels − none": ("labels", "none"), "moex − labels": ("moex", "labels")}
    known = {words: study for words, study in DATA_SETS.items() if is_there(study)}
    for name, (spec, other) in pairs.items():
        scores = [paired(study, spec, other) for study in known.values()]
        rows += [Row((words, name), difference(of)) for words, of in zip(known, scores, strict=True)]
        means[name] = _pooled(scores)
    # Data set by data set.
    rows.sort(key=lambda row: list(known).index(row.words[0]))
    return rows, means


def of_lam() -> tuple[list[Row], dict[str, Pooled]]:
    """The four differences of the hypothesis on each data set, those of one data set together; and their means."""
    known = {words: study for words, study in CONFIRMED_ON.items() if is_there(study)}
    scores = {words: [paired(study, *pair) for pair in HYPOTHESES.values()] for words, study in known.items()}
    rows = [
        Row((words, name), found)
        for words, of in scores.items()
        for name, found in zip(HYPOTHESES, differences(of), strict=True)
    ]
    enough = len(known) > 2
    means = {name: _pooled([of[i] for of in scores.values()]) for i, name in enumerate(HYPOTHESES)} if enough else {}
    return rows, means


def mechanism() -> list[Row]:
    """MoEx minus each of its controls in networks of two widths, all together."""
    names = [(f"{width} channels", words) for width in WIDTHS for words in CONTROLS]
    scores = [
        paired("mechanism-digits", "moex", control, f"width={width}")
        for width in WIDTHS
        for control in CONTROLS.values()
    ]
    return [Row(words, found) for words, found in zip(names, differences(scores), strict=True)]


def _pooled(scores: Sequence[np.ndarray]) -> Pooled:
    return pooled([of.mean() for of in scores], [_standard_error(of) for of in scores])


def _standard_error(scores: np.ndarray) -> float:
    found = spread(scores)
    assert found is not None
    return found.standard_error


def table(caption: str, headings: Sequence[str], rows: Sequence[Row], means: Mapping[str, Pooled]) -> str:
    cells = [
        [*row.words, wording.plus_minus(row.found, "+"), wording.p_value(row.found.p_adjusted), str(row.found.n)]
        for row in rows
    ]
    for name, mean in means.items():
        of = Estimate(mean.mean, mean.ci95, mean.n)
        words = f"mean over {mean.n} data sets (they differ by {mean.tau:.2f})"
        cells.append([words, name, wording.plus_minus(of, "+"), wording.p_value(mean.p_value), str(mean.n)])
    return in_markdown(Table(caption, [*headings, "points", "p", "n"], cells))


def forest(rows: Sequence[Row], means: Mapping[str, Pooled]) -> Figure:
    """MoEx and its labels alone minus plain training on every data set, and their means."""
    shown = {"moex − none": ("MoEx", ACCENT), "labels − none": ("labels alone", MUTED)}
    lines = []
    for row in rows:
        if row.words[1] in shown:
            name, color = shown[row.words[1]]
            lines.append(Bar((row.words[0] if name == "MoEx" else "", name), row.found, color))
    number = next(iter(means.values())).n
    for key, (name, color) in shown.items():
        mean = Estimate(means[key].mean, means[key].ci95, number)
        lines.append(
            Bar(("all: mean for other data" if name == "MoEx" else "", name), mean, INK if name == "MoEx" else color)
        )
    label = "Error minus that of plain training, points; below 0 is better. Bars are 95% intervals"
    return bars([Bars(lines, label, ("Data, training images", "Method"))])


def of_controls(rows: Sequence[Row]) -> Figure:
    parts = []
    for width in WIDTHS:
        here = [row for row in rows if row.words[0] == f"{width} channels"]
        lines = [Bar((row.words[1],), Estimate(row.found.mean, row.found.ci95_adjusted, row.found.n)) for row in here]
        parts.append(
            Bars(lines, f"Error of MoEx minus that of the control, points, {width} channels", ("MoEx compared with",))
        )
    return bars(parts)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    numbers: dict[str, Any] = {}

    def keep(
        name: str, rows: Sequence[Row], means: Mapping[str, Pooled], headings: Sequence[str], caption: str
    ) -> None:
        write_text(OUT / f"{name}.md", table(caption, headings, rows, means) + "\n")
        numbers[name] = [{"of": list(row.words), **asdict(row.found)} for row in rows]
        numbers[name] += [{"of": ["all data sets", words], **asdict(mean)} for words, mean in means.items()]

    def picture(name: str, figure: Callable[[], Figure]) -> None:
        drawn = draw(name, figure)
        write_bytes(OUT / f"{name}.svg", drawn.svg)
        write_bytes(OUT / f"{name}.png", drawn.png)

    rows, means = over_data_sets()
    keep(
        "data-sets", rows, means, ("Data, training images", "difference"), "Points of error, ± 95% CI, each on its own"
    )
    picture("forest", lambda: forest(rows, means))
    if any(map(is_there, CONFIRMED_ON.values())):
        lam, lam_means = of_lam()
        keep(
            "lam",
            lam,
            lam_means,
            ("Data", "difference"),
            "Points of error, ± 95% CI of the four of one data set together",
        )
    if is_there("mechanism-digits"):
        controls = mechanism()
        keep("mechanism", controls, {}, ("Network", "MoEx minus"), "Points of error, ± 95% CI of all of them together")
        picture("mechanism", lambda: of_controls(controls))
    write_text(OUT / "evidence.json", json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
