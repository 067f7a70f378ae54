"""What the studies show together, from the committed predictions of their runs alone: parts of docs/results-in-full.md.

    python results/evidence.py        results/evidence/: tables in Markdown, pictures, and evidence.json

Differences are judged as in a report: for other seeds and other test images, those of a table together. A mean over
data sets is for other data sets, see `torchmoments_lab.statistics.pooled`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from matplotlib.figure import Figure

from torchmoments_lab.files import write_bytes, write_text
from torchmoments_lab.report import wording
from torchmoments_lab.report.bars import Bar, Bars, bars
from torchmoments_lab.report.drawing import ACCENT, MUTED, draw
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.render import table as in_markdown
from torchmoments_lab.statistics.crossed import spread
from torchmoments_lab.statistics.pooled import LEAST_DATA_SETS, Pooled, pooled
from torchmoments_lab.statistics.several import differences
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
    "surnames, 400": "settings-names",
    "emoji, 300, same company": "companies-within",
    "spoken words, 200, new accent": "speech-across",
}
# Of the hypothesis on lam: {words: study}.
CONFIRMED_ON = {
    "vowels": "settings-vowels",
    "a watch's motion": "settings-watch",
    "silhouettes": "settings-animals",
    "surnames": "settings-names",
    "Fashion-MNIST, 400": "settings-fashion",
    "solar cells, fine-tuned": "settings-elpv",
}
# {words: a method and what it is compared with}
GAINS = {
    "moex minus none": ("moex", "none"),
    "labels minus none": ("labels", "none"),
    "moex minus labels": ("moex", "labels"),
}
HYPOTHESES = {
    "pono: lam=0.5 minus 0.9": ("moex:lam=0.5", "moex"),
    "in: lam=0.5 minus 0.9": ("moex:norm=in,lam=0.5", "moex:norm=in"),
    "pono, lam=0.5 minus its labels": ("moex:lam=0.5", "labels:lam=0.5"),
    "in, lam=0.5 minus its labels": ("moex:norm=in,lam=0.5", "labels:lam=0.5"),
}
# Of p, with lam = 0.9: {words: study}.
P_ON = {
    "vowels": "p-vowels",
    "silhouettes": "p-animals",
    "Fashion-MNIST, 400": "p-fashion",
}
OTHER_P = {f"p={p} minus 0.5": (f"moex:p={p}", "moex") for p in ("0.25", "0.75", "1")}
# Of the norms, with lam = 0.9: {words: (study, the folder of a sweep's combination, in, pono)}.
NORMS = {
    "digits": ("norm-digits", "comparison", "moex:norm=in", "moex:norm=pono"),
    "solar cells, fine-tuned": ("elpv-200", "", "moex:norm=in", "moex"),
    "vowels": ("settings-vowels", "", "moex:norm=in", "moex"),
    "a watch's motion": ("settings-watch", "", "moex:norm=in", "moex"),
    "silhouettes": ("settings-animals", "", "moex:norm=in", "moex"),
    "surnames": ("settings-names", "", "moex:norm=in", "moex"),
    "Fashion-MNIST, 400": ("settings-fashion", "", "moex:norm=in", "moex"),
    "emoji": ("companies-within", "", "moex:norm=in", "moex"),
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
# {a network and its data: the study, and the folder of a sweep's combination}; a study is judged together.
MECHANISM = {
    "digits, 4 channels": ("mechanism-digits", "width=4"),
    "digits, 16 channels": ("mechanism-digits", "width=16"),
    "Fashion-MNIST, 16 channels": ("mechanism-fashion", ""),
}

# {words: {words of a difference: what was found}}
Found = dict[str, dict[str, Difference]]
Means = dict[str, Pooled]


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


@cache
def _predictions(study: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    with np.load(RESULTS / study / "predictions.npz") as file:
        return file["targets"], file["runs"].tolist(), file["predicted"]


def is_there(study: str) -> bool:
    return (RESULTS / study / "predictions.npz").exists()


def over(studies: Mapping[str, str], pairs: Mapping[str, tuple[str, str]]) -> tuple[Found, Means]:
    """Differences between methods in each study, those of one study together; and the mean of each over the studies."""
    known = {words: study for words, study in studies.items() if is_there(study)}
    scores = {words: [paired(study, *pair) for pair in pairs.values()] for words, study in known.items()}
    found = {words: dict(zip(pairs, differences(of), strict=True)) for words, of in scores.items()}
    if len(known) < LEAST_DATA_SETS:
        return found, {}
    return found, {name: _pooled([of[number] for of in scores.values()]) for number, name in enumerate(pairs)}


def norms() -> tuple[Found, Means]:
    """MoEx with in minus MoEx with pono on each data set, all together, and their mean."""
    name = "in minus pono"
    known = {words: of for words, of in NORMS.items() if is_there(of[0])}
    scores = [paired(study, first, second, part) for study, part, first, second in known.values()]
    found = {words: {name: of} for words, of in zip(known, differences(scores), strict=True)}
    return found, {name: _pooled(scores)}


def mechanism() -> Found:
    """MoEx minus each of its controls in each network."""
    found: Found = {words: {} for words in CONTROLS}
    for study in dict.fromkeys(study for study, _ in MECHANISM.values() if is_there(study)):
        parts = {network: part for network, (of, part) in MECHANISM.items() if of == study}
        pairs = [(words, network) for words in CONTROLS for network in parts]
        scores = [paired(study, "moex", CONTROLS[words], parts[network]) for words, network in pairs]
        for (words, network), of in zip(pairs, differences(scores), strict=True):
            found[words][network] = of
    return found


def _pooled(scores: Sequence[np.ndarray]) -> Pooled:
    return pooled([of.mean() for of in scores], [_standard_error(of) for of in scores])


def _standard_error(scores: np.ndarray) -> float:
    found = spread(scores)
    assert found is not None
    return found.standard_error


def table(caption: str, heading: str, found: Found, means: Means) -> str:
    """A row a data set or control, a column a difference; the mean over data sets, its p and the spread come last."""
    columns = list(next(iter(found.values())))
    cells = [
        [words, *(wording.plus_minus(wording.adjusted(of[name]), "+") for name in columns)]
        for words, of in found.items()
    ]
    if means:
        each = [means[name] for name in columns]
        cells.append(["mean over data sets", *(wording.plus_minus(_estimate(mean), "+") for mean in each)])
        cells.append(["p of that mean", *(wording.p_value(mean.p_value) for mean in each)])
        cells.append(["spread between data sets", *(f"{mean.tau:.2f}" for mean in each)])
    return in_markdown(Table(caption, [heading, *columns], cells))


def forest(found: Found, means: Means) -> Figure:
    """MoEx and its labels alone minus plain training on every data set, and their means."""
    shown = {"moex minus none": ("MoEx", ACCENT), "labels minus none": ("labels alone", MUTED)}
    rows = {words: {name: of[name] for name in shown} for words, of in found.items()}
    rows |= {"mean, for other data": {name: _estimate(means[name]) for name in shown}}
    lines = [
        Bar((words if name == next(iter(shown)) else "", shown[name][0]), estimate, shown[name][1])
        for words, of in rows.items()
        for name, estimate in of.items()
    ]
    label = "Error minus that of plain training, points; left of 0 is better. Lines are 95% intervals, each by itself"
    return bars([Bars(lines, label, ("Data, training images", "Method"))])


def of_controls(found: Found) -> Figure:
    parts = []
    for name in next(iter(found.values())):
        lines = [Bar((words,), wording.adjusted(of[name])) for words, of in found.items()]
        parts.append(Bars(lines, f"MoEx minus the control, points of error; {name}", ("MoEx compared with",)))
    figure = bars(parts)
    lows, highs = zip(*(axes.get_xlim() for axes in figure.axes), strict=True)
    for axes in figure.axes:
        axes.set_xlim(min(lows), max(highs))
    return figure


def _estimate(mean: Pooled) -> Estimate:
    return Estimate(mean.mean, mean.ci95, mean.n)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    numbers: dict[str, Any] = {}

    def keep(name: str, caption: str, heading: str, found: Found, means: Means) -> None:
        write_text(OUT / f"{name}.md", table(caption, heading, found, means) + "\n")
        numbers[name] = {words: {key: asdict(one) for key, one in of.items()} for words, of in found.items()}
        numbers[name] |= {"mean": {key: asdict(mean) for key, mean in means.items()}} if means else {}

    def picture(name: str, figure: Callable[[], Figure]) -> None:
        write_bytes(OUT / f"{name}.svg", draw(name, figure).svg)

    caption = "Points of error, ± 95% CI of those of one data set together"
    gains, means = over(DATA_SETS, GAINS)
    keep("data-sets", caption, "Data, training images", gains, means)
    picture("forest", lambda: forest(gains, means))
    for name, studies, pairs in (("lam", CONFIRMED_ON, HYPOTHESES), ("p", P_ON, OTHER_P)):
        found, means_of_pairs = over(studies, pairs)
        if found:
            keep(name, caption, "Data", found, means_of_pairs)
    keep("norm", "Points of error, ± 95% CI of all of them together", "Data", *norms())
    controls = mechanism()
    keep("mechanism", caption, "MoEx minus", controls, {})
    picture("mechanism", lambda: of_controls(controls))
    write_text(OUT / "evidence.json", json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
