"""The studies behind docs/results.md: run one, and put tables, numbers and figures of all that were run on the page.

    python results/studies.py                 names, and about how many minutes each takes on 2 cores
    python results/studies.py run probe-digits
    python results/studies.py run             all, in this order
    python results/studies.py page            docs/results.md again, from results/ alone

A study goes on where it was stopped. Its runs stay in runs/studies; results/NAME keeps what can be committed. What the
study shows is written into results/NAME/findings.md by whoever has read the table; everything else is made by command.
"""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
RUNS = ROOT / "runs" / "studies"
FIGURES = ("sweep", "probe", "differences")
KEPT = (
    *("summary.json", "table.md", "cells.csv", "seeds.csv", "report.md", "report.html", "curves.png"),
    *(f"{figure}.{kind}" for figure in FIGURES for kind in ("png", "svg")),
)


@dataclass(frozen=True)
class Study:
    """`command` is a `torchmoments` command without its --out; `minutes` on 2 quiet cores."""

    name: str
    minutes: int
    question: str
    about: str
    command: str


STUDIES = [
    Study(
        "methods-digits",
        8,
        "Every method on digits",
        "Each at the places and with the options of its source. `labels` is the label mixing of MoEx with the features "
        "left alone.",
        "compare --data digits --methods none labels moex mixstyle efdmix dsu crossnorm padain mixup cutmix "
        "cutmix+moex --seeds 20",
    ),
    Study(
        "moex-fashion",
        20,
        "MoEx on Fashion-MNIST",
        "1,000 training images, no augmentation.",
        "compare --data fashion-mnist --train-size 1000 --width 32 --epochs 60 --methods none labels moex --seeds 8",
    ),
    Study(
        "switches-digits",
        8,
        "What separates MoEx from MixStyle, and what each difference is worth",
        "Four switches: labels mixed (lam=0.9) or kept (lam=1.0); the gradient flows through the moments or not; the "
        "moments are pono or in; they are exchanged (alpha=None) or interpolated with Beta(0.1, 0.1) weights. All 16 "
        "combinations, beside the labels alone and label smoothing. MoEx is the first cell, MixStyle is the last.",
        "sweep --method moex --grid lam=0.9/1.0 grad=both/none norm=pono/in alpha=None/0.1 --controls labels "
        "smooth:amount=0.05 smooth:amount=0.1 --evaluate test --seeds 30",
    ),
    Study(
        "probe-digits",
        2,
        "Do the moments know the class? Digits",
        "The paper's first table: the rest of the network sees the moments alone, the normalized features alone, or "
        "all of the features after the stem.",
        "probe --data digits --seeds 20",
    ),
    Study(
        "lam-p-digits",
        6,
        "Which lam and which p",
        "The paper's Table 10 recommends lam = 0.9. Judged on validation images.",
        "sweep --method moex --grid lam=0.3/0.5/0.7/0.9/0.95 p=0.25/0.5/0.75/1 --seeds 20",
    ),
    Study(
        "norm-digits",
        2,
        "Which moments",
        "The paper's Table 8 recommends pono. Judged on validation images.",
        "sweep --method moex --grid norm=pono/in/ln/gn4/gpono4 --controls labels --seeds 20",
    ),
    Study(
        "place-digits",
        3,
        "Which place",
        "The paper mixes after the stem. A step mixes at one of several places. Judged on validation images.",
        "sweep --method moex --grid at=stem/layer1/layer2/layer3/stem+layer1/stem+layer1+layer2+layer3 --controls "
        "labels --seeds 20",
    ),
    Study(
        "size-digits",
        4,
        "With how many training images it helps",
        "The number of steps is the same everywhere, 320.",
        "sweep --grid method=labels/moex train_size=50/100/200/400/800 --steps 320 --evaluate test --seeds 20",
    ),
    Study(
        "width-digits",
        5,
        "For networks of which width it helps",
        "200 training images, 80 epochs.",
        "sweep --grid method=labels/moex width=4/8/16/32 --evaluate test --seeds 20",
    ),
    Study(
        "switches-fashion",
        45,
        "The corners of the four switches on Fashion-MNIST",
        "MoEx and MixStyle, each with its labels as published and the other way round. 1,000 training images, no "
        "augmentation.",
        "sweep --data fashion-mnist --train-size 1000 --width 32 --epochs 60 --grid "
        "method=moex/moex:grad=none,norm=in,alpha=0.1 lam=0.9/1.0 --controls labels --evaluate test --seeds 8",
    ),
    Study(
        "probe-fashion",
        8,
        "Do the moments know the class? Fashion-MNIST",
        "As on digits, with 1,000 training images.",
        "probe --data fashion-mnist --train-size 1000 --epochs 30 --seeds 6",
    ),
]


def main(words: list[str]) -> int:
    match words:
        case []:
            for study in STUDIES:
                print(f"{study.name:18} {study.minutes:3} min  {study.question}")
            return 0
        case ["run", *names]:
            known = {study.name: study for study in STUDIES}
            unknown = [name for name in names if name not in known]
            if unknown:
                print(f"run needs known studies; got {', '.join(unknown)}. All: {', '.join(known)}.", file=sys.stderr)
                return 2
            codes = [run(known[name]) for name in names or known]
            page()
            return max(codes)
        case ["page"]:
            page()
            return 0
    print("Write nothing, run NAME..., or page.", file=sys.stderr)
    return 2


def run(study: Study) -> int:
    """Train what is missing, and keep the tables and figures; gives the command's exit code."""
    out = RUNS / study.name
    # Relative: the report shows the command.
    words = [*shlex.split(study.command), *_data_folder(study.command), "--out", str(out.relative_to(ROOT))]
    print("torchmoments", shlex.join(words), flush=True)
    code = subprocess.run([sys.executable, "-m", "torchmoments_lab", *words], check=False, cwd=ROOT).returncode
    if code != 2:
        (RESULTS / study.name).mkdir(exist_ok=True)
        for name in KEPT:
            if (out / name).exists():
                shutil.copyfile(out / name, RESULTS / study.name / name)
        if (out / "report.md").exists():
            (RESULTS / study.name / "table.md").write_text(_table_of((out / "report.md").read_text()))
    return code


def _table_of(report: str) -> str:
    """The results of a comparison's report.md, without its heading and what explains them."""
    lines = report.partition("## Results\n")[2].partition("\n## ")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith("|")) + "\n"


def _data_folder(command: str) -> list[str]:
    """Where Debian's dataset-fashion-mnist puts its files; without it they are downloaded."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    return ["--data-dir", str(folder)] if "fashion-mnist" in command and folder.is_dir() else []


def page() -> None:
    """Write docs/results.md from what results/ holds."""
    done = [study for study in STUDIES if (RESULTS / study.name / "summary.json").exists()]
    waiting = [study for study in STUDIES if study not in done]
    parts = [(RESULTS / "head.md").read_text().strip()]
    # The table "the paper says, we see", written when there is something to see.
    parts += [path.read_text().strip() for path in [RESULTS / "claims.md"] if path.exists()]
    parts += [_section(study) for study in done]
    if waiting:
        rows = [f"| {study.question} | `python results/studies.py run {study.name}` |" for study in waiting]
        parts.append("## Not run here\n\n| question | command |\n| --- | --- |\n" + "\n".join(rows))
    parts.append((RESULTS / "recipes.md").read_text().strip())
    (ROOT / "docs" / "results.md").write_text("\n\n".join(parts) + "\n")


def _section(study: Study) -> str:
    folder = RESULTS / study.name
    summary = json.loads((folder / "summary.json").read_text())
    figure = next(name for name in FIGURES if (folder / f"{name}.svg").exists())
    findings = folder / "findings.md"
    said = [findings.read_text().strip()] if findings.exists() else []
    parts = [
        f"## {study.question}",
        study.about,
        f"![{study.question}](../results/{study.name}/{figure}.svg)",
        *said,
        (folder / "table.md").read_text().strip(),
        *(f"- {sentence}" for sentence in summary["conclusion"]),
        f"    torchmoments {study.command}",
        _made_with(study, summary),
    ]
    return "\n\n".join(parts)


def _made_with(study: Study, summary: dict) -> str:
    used = "; ".join(
        f"torch {env['torch']}, Python {env['python']}, {env['cpu']}, {env['threads']} thread a run"
        for env in summary["environments"]
    )
    settings = summary["settings"]
    shown = [f"{settings[name]} {words}".strip() for name, words in _SETTINGS.items() if settings.get(name) is not None]
    files = ", ".join(
        f"[{name}](../results/{study.name}/{name})"
        for name in ("report.md", "summary.json", "cells.csv", "seeds.csv")
        if (RESULTS / study.name / name).exists()
    )
    return f"{', '.join(shown)}. {used}. {files}."


_SETTINGS = {
    "data": "",
    "train_size": "training images",
    "epochs": "epochs",
    "width": "channels",
    "batch_size": "a batch",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
