"""The studies behind docs/results-in-full.md: run one, and write the page of all that were run.

    python results/studies.py                 names, and about how many minutes each takes on 2 cores
    python results/studies.py run probe-digits
    python results/studies.py run             all, in this order
    python results/studies.py page            docs/results-in-full.md again, from results/ alone
    python results/studies.py demo            results/demo, from the runs of `make demo`

Rerun a command to resume a study. Its runs stay in runs/studies. results/NAME keeps seeds.csv, summary.json, one
picture, and predictions.npz: the targets and the predicted classes of each run, so that every number can be computed
again. What the study shows is written by hand into results/NAME/findings.md, once the table has been read.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchmoments_lab.metrics import METRICS, NAMES
from torchmoments_lab.probe import report as of_probe
from torchmoments_lab.report import contents, render, wording
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.records import read_summary
from torchmoments_lab.report.summary import AnySummary, ProbeSummary, Summary, SweepSummary
from torchmoments_lab.report.wording import typeset
from torchmoments_lab.sweep import report as of_sweep

FILE = Path(__file__).resolve().with_name("studies.toml")
ROOT = FILE.parent.parent
RESULTS = ROOT / "results"
RUNS = ROOT / "runs" / "studies"
PICTURES = ("sweep.svg", "probe.svg", "differences.svg")
KEPT = ("seeds.csv", "summary.json", *PICTURES)
PICTURES_OF_DEMO = ("differences", "confusion", "pictures-1", "pictures-2", "inputs", "curves")
KEPT_OF_DEMO = ("seeds.csv", "summary.json", "report.html", "report.md", *(f"{name}.png" for name in PICTURES_OF_DEMO))
LARGEST = 1_000_000
# {part of evidence.py: its picture}
EVIDENCE = {"data-sets": "forest", "mechanism": "mechanism", "lam": None, "p": None, "norm": None}


@dataclass(frozen=True)
class Study:
    """A table of studies.toml."""

    name: str
    minutes: int
    question: str
    about: str
    command: str


def studies() -> list[Study]:
    """All of results/studies.toml, in the order of the page."""
    return [Study(**table) for table in tomllib.loads(FILE.read_text())["study"]]


def main(words: list[str]) -> int:
    match words:
        case []:
            for study in studies():
                print(f"{study.name:18} {study.minutes:3} min  {study.question}")
            return 0
        case ["run", *names]:
            by_name = {study.name: study for study in studies()}
            unknown = [name for name in names if name not in by_name]
            if unknown:
                print(
                    f"run needs names of studies; got {', '.join(unknown)}. All: {', '.join(by_name)}.", file=sys.stderr
                )
                return 2
            codes = [run(by_name[name]) for name in names or by_name]
            compute_together()
            page()
            return max(codes)
        case ["page"]:
            compute_together()
            page()
            return 0
        case ["demo"]:
            keep(ROOT / "runs" / "demo", RESULTS / "demo", KEPT_OF_DEMO)
            return 0
    print("Write nothing, run NAME..., page, or demo.", file=sys.stderr)
    return 2


def run(study: Study) -> int:
    """Train what is missing, and keep what can be committed; returns the command's exit code."""
    out = RUNS / study.name
    # Relative: the report shows the command.
    words = [*shlex.split(study.command), *_data_folder(study.command), "--out", str(out.relative_to(ROOT))]
    _install_pictures(study.command)
    print("torchmoments", shlex.join(words), flush=True)
    code = subprocess.run([sys.executable, "-m", "torchmoments_lab", *words], check=False, cwd=ROOT).returncode
    if code != 2:
        keep(out, RESULTS / study.name, KEPT)
    return code


def keep(out: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copy files of a folder of runs, and the predictions of its runs if they are small."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if (out / name).exists():
            shutil.copyfile(out / name, folder / name)
    paths = sorted(path for depth in ("", "*/") for path in out.glob(f"{depth}runs/*/seed*/predictions.npy"))
    rows = [np.load(path) for path in paths]
    if not rows or any(not np.array_equal(of_run["target"], rows[0]["target"]) for of_run in rows):
        return
    classes = np.min_scalar_type(max(int(of_run[name].max()) for of_run in rows for name in ("target", "predicted")))
    np.savez_compressed(
        folder / "predictions.npz",
        targets=rows[0]["target"].astype(classes),
        runs=np.array([path.parent.relative_to(out).as_posix() for path in paths]),
        # Image by image: runs agree on most of them, which takes half the room.
        predicted=np.asfortranarray(np.stack([of_run["predicted"].astype(classes) for of_run in rows])),
    )
    if (folder / "predictions.npz").stat().st_size > LARGEST:
        (folder / "predictions.npz").unlink()


def _data_folder(command: str) -> list[str]:
    """The folder of Debian's dataset-fashion-mnist; without it the files are downloaded."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    return ["--data-dir", str(folder)] if "fashion-mnist" in command and folder.is_dir() else []


def _install_pictures(command: str) -> None:
    """Bring the pictures and weights that a command names and that are not there, see `pictures`."""
    for name in dict.fromkeys(re.findall(r"runs/data/(\w+)", command)):
        if not list((ROOT / "runs" / "data").glob(f"{name}*")):
            subprocess.run([sys.executable, str(FILE.with_name("pictures.py")), name], check=True)


def compute_together() -> None:
    """Write results/evidence anew."""
    runpy.run_path(str(RESULTS / "evidence.py"), run_name="__main__")


def page() -> None:
    """Write docs/results-in-full.md from what results/ holds."""
    done = [study for study in studies() if (RESULTS / study.name / "summary.json").exists()]
    waiting = [study for study in studies() if study not in done]
    parts = [(RESULTS / "head.md").read_text().strip()]
    # The table of the papers' claims, written once there are results to compare them with.
    parts += [path.read_text().strip() for path in [RESULTS / "claims.md"] if path.exists()]
    parts += [_together(name) for name in EVIDENCE if (RESULTS / "evidence" / f"{name}.md").exists()]
    parts += [_section(study) for study in done]
    parts += [_own_section(path) for path in sorted(RESULTS.glob("*/section.md"))]
    if waiting:
        rows = [f"| {study.question} | `python results/studies.py run {study.name}` |" for study in waiting]
        parts.append("## Not run here\n\n| question | command |\n| --- | --- |\n" + "\n".join(rows))
    parts.append((RESULTS / "recipes.md").read_text().strip())
    (ROOT / "docs" / "results-in-full.md").write_text("\n\n".join(parts) + "\n")


def _together(name: str) -> str:
    """What several studies show together, see evidence.py."""
    folder, picture = RESULTS / "evidence", EVIDENCE[name]
    return "\n\n".join(
        [
            (folder / f"{name}-findings.md").read_text().strip(),
            *([f"![{picture}](../results/evidence/{picture}.svg)"] if picture else []),
            (folder / f"{name}.md").read_text().strip(),
            "[evidence.json](../results/evidence/evidence.json), by `python results/evidence.py`.",
        ]
    )


def _own_section(path: Path) -> str:
    """What a script of its own wrote, see tuned.py and generation.py, and what it shows."""
    findings = path.with_name("findings.md")
    return "\n\n".join(file.read_text().strip() for file in (path, findings) if file.exists())


def _section(study: Study) -> str:
    folder = RESULTS / study.name
    summary = read_summary(folder / "summary.json")
    picture = next(name for name in PICTURES if (folder / name).exists())
    findings = folder / "findings.md"
    parts = [
        f"## {study.question}",
        study.about,
        f"![{study.question}](../results/{study.name}/{picture})",
        *([findings.read_text().strip()] if findings.exists() else []),
        *map(render.table, tables(summary)),
        *(f"- {render.line(typeset(sentence))}" for sentence in summary.conclusion),
        # Fenced: indented, it would belong to the last sentence of the list.
        f"```\ntorchmoments {study.command}\n```",
        _made_with(study, summary),
    ]
    return "\n\n".join(parts)


def tables(summary: AnySummary) -> list[Table]:
    match summary:
        case SweepSummary():
            return of_sweep.tables(summary)
        case ProbeSummary():
            return [of_probe.table(summary)]
        case _:
            return [contents.results(summary), *([_every_metric(summary)] if summary.paired else [])]


def _every_metric(summary: Summary) -> Table:
    """The other metrics in short: the mean, and below the reference the difference with its interval."""
    metrics = [metric for metric in METRICS if metric != summary.metric]
    rows = []
    for method, of_method in summary.methods.items():
        cells = [f"{of_method.metrics[metric].mean or 0:.1f}" for metric in metrics]
        if method in summary.paired:
            found = [wording.adjusted(summary.paired[method].metrics[metric]) for metric in metrics]
            cells = [f"{cell} ({wording.plus_minus(of, '+')})" for cell, of in zip(cells, found, strict=True)]
        rows.append([method, *cells])
    caption = f"Other metrics, looked at afterwards; in brackets minus {summary.reference}, ± for all methods together"
    return Table(caption, ["Method", *(NAMES[metric] for metric in metrics)], rows)


def _made_with(study: Study, summary: AnySummary) -> str:
    used = "; ".join(
        f"torch {env['torch']}, Python {env['python']}, "
        + (f"{env['cpu']}, {env['threads']} thread a run" if env.get("device", "cpu") == "cpu" else str(env["device"]))
        for env in summary.environments
    )
    settings = summary.settings
    known = {name: words for name, words in _SETTINGS.items() if settings.get(name) is not None}
    if settings.get("model", "small") != "small":
        known.pop("width", None)
    shown = [f"{settings[name]} {words}".strip() for name, words in known.items()]
    files = ", ".join(
        f"[{name}](../results/{study.name}/{name})"
        for name in ("summary.json", "seeds.csv", "predictions.npz")
        if (RESULTS / study.name / name).exists()
    )
    return f"{', '.join(shown)}. {used}. {files}."


_SETTINGS = {
    "data": "",
    "model": "",
    "train_size": "training images",
    "epochs": "epochs",
    "width": "channels",
    "batch_size": "a batch",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
