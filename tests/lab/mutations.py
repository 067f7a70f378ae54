"""Spoils inputs in thousands of ways, and reads them: each is read, or refused in one sentence, and never takes long.

    python tests/lab/mutations.py                          2,000 of each kind
    python tests/lab/mutations.py words --cases 20000      of this kind
    python tests/lab/mutations.py words --case 1234        this one, with its traceback

records     the files of a comparison: settings, runs, images, epochs, predictions
weights     files of weights, of a run or of another program
checkpoint  the state of a run that was stopped
pictures    PNG, JPEG, TIFF of 16 bits, GIF, WebP
words       the command line

Files of weights, checkpoints and predictions that run a program when they are unpickled are tried too; none may.
"""

import argparse
import json
import pickle
import random
import shutil
import signal
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from torchmoments_lab import requests
from torchmoments_lab.comparison import compare
from torchmoments_lab.data.folder import ImageFiles, records_of
from torchmoments_lab.inference.trained import load_trained
from torchmoments_lab.methods import parse_methods
from torchmoments_lab.models.small import SmallResNet
from torchmoments_lab.models.weights import load_file
from torchmoments_lab.parser import parse
from torchmoments_lab.recipes import with_recipe
from torchmoments_lab.report import conclusion
from torchmoments_lab.report.reading import read_comparison
from torchmoments_lab.report.summarize import summarize
from torchmoments_lab.sweep.grid import cells, parse_grid
from torchmoments_lab.training.checkpoint import Checkpoint

_SECONDS = 20
_ODD = [
    None,
    True,
    -1,
    0,
    0.5,
    10**9,
    10**400,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\x1b[31m",
    "é" * 300,
    [],
    {},
    [[]],
]
_ODD_WORDS = [
    "",
    "-1",
    "0",
    "1e9",
    "1" + "0" * 400,
    "inf",
    "nan",
    "None",
    "x",
    "\x1b[31m",
    "é" * 300,
    "=",
    ":",
    ",",
    "+",
    "/",
]
_COMMANDS = {
    kind.__name__.lower(): kind
    for kind in (requests.Compare, requests.Sweep, requests.Probe, requests.Train, requests.Inspect, requests.Places)
}
_WORDS = [
    "compare --data digits --methods none moex:norm=in,lam=0.9,p=0.5,at=layer1+layer2 cutmix+moex --seeds 10..40",
    "compare --data folder:pictures --train-size 200 --lr 0.1 --looks 10 20 --stop-at 0.3 --ray auto --gpus-per-run 1",
    "sweep --method mixstyle:alpha=0.1 --grid lam=0.5/0.7 at=stem/layer1+layer2 lr=0.1 --controls labels --steps 9",
    "probe --norms pono in gn4 --at stem --quick --seeds 3 --no-trained",
    "train --method dsu:p=0.5 --recipe cifar10-pyramidnet200 --devices 2 --threads 3 --precision bf16-mixed",
]


@dataclass(frozen=True)
class Kind:
    """Files that are right, in a folder, and what reads them there, whichever of them is spoiled."""

    make: Callable[[Path], None]
    read: Callable[[Path], Any]


def make_comparison(folder: Path) -> None:
    settings = {"train_size": 20, "epochs": 1, "width": 4, "methods": ("none", "moex"), "seeds": 3, "workers": 1}
    compare(requests.Compare().with_values(**settings, keep_weights=True, out=folder / "out"))
    for path in (folder / "out").iterdir():
        if path.is_file() and path.suffix != ".json":
            path.unlink()
    for path in (folder / "out").glob("runs/*/*/weights.safetensors"):
        path.unlink()


def read_records(folder: Path) -> None:
    comparison = read_comparison(folder / "out")
    conclusion.sentences(summarize(comparison))


def make_weights(folder: Path) -> None:
    settings = {"train_size": 20, "epochs": 1, "width": 4, "methods": ("none",), "seeds": 1, "workers": 1}
    compare(requests.Compare().with_values(**settings, keep_weights=True, out=folder / "out"))
    (folder / "out/runs/none/seed0/weights.safetensors").rename(folder / "run.safetensors")
    shutil.rmtree(folder / "out")
    torch.save({"state_dict": SmallResNet(1, 10, 4).state_dict(), "epoch": 3}, folder / "other.pt")


def read_weights(folder: Path) -> None:
    load_trained(folder / "run.safetensors")
    load_file(SmallResNet(1, 10, 4), folder / "run.safetensors", 10)
    load_file(SmallResNet(1, 10, 4), folder / "other.pt", 10)


def _checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(folder / "checkpoint.pt", {"method": "none", "seed": 0})


def make_checkpoint(folder: Path) -> None:
    state = {"epoch": 1, "epochs": [{"loss": 2.0}], "seconds": [0.5], "order": torch.get_rng_state()}
    _checkpoint(folder).write({**state, "model": SmallResNet(1, 10, 4).state_dict()})


def make_pictures(folder: Path) -> None:
    values = np.random.default_rng(0).integers(256, size=(9, 12, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "gif", "webp", "bmp"):
        Image.fromarray(values).save(folder / f"picture.{suffix}")
    Image.fromarray(values[..., 0].astype(np.uint16) * 200).save(folder / "deep.tif")


def read_pictures(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    records_of(paths)
    list(ImageFiles(paths))


KINDS = {
    "records": Kind(make_comparison, read_records),
    "weights": Kind(make_weights, read_weights),
    "checkpoint": Kind(make_checkpoint, lambda folder: _checkpoint(folder).read()),
    "pictures": Kind(make_pictures, read_pictures),
}


def spoiled(content: bytes, draw: random.Random) -> bytes:
    """The content of a file with one thing or a few wrong."""
    if content.startswith(b"{") and draw.random() < 0.7:
        return _spoiled_record(json.loads(content), draw)
    for _ in range(draw.choice([1, 1, 1, 4, 30])):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice([1, 2, 8, 100]))
        part = content[start:end]
        new = draw.choice(
            [
                b"",
                part + part,
                draw.randbytes(len(part)),
                bytes(len(part)),
                b"\xff" * len(part),
                part[::-1],
                b"9" * len(part),
            ]
        )
        content = content[:start] + new + content[end:]
    return content[: draw.randrange(len(content) + 1)] if draw.random() < 0.1 else content


def _spoiled_record(record: Any, draw: random.Random) -> bytes:
    inside, key = record, draw.choice(list(record))
    while isinstance(inside[key], dict | list) and inside[key] and draw.random() < 0.8:
        inside = inside[key]
        key = draw.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
    if draw.random() < 0.2:
        del inside[key]
    else:
        inside[key] = draw.choice(_ODD)
    return json.dumps(record).encode()


def spoiled_words(draw: random.Random) -> list[str]:
    words = draw.choice(_WORDS).split()
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(words))
        word = words[at]
        cut = draw.randrange(len(word) + 1)
        odd = draw.choice(_ODD_WORDS)
        words[at : at + 1] = draw.choice(
            [
                [],
                [odd],
                [word, odd],
                [word, word],
                [word[:cut] + odd + word[cut:]],
                [word[:cut]],
                [word[:cut], word[cut:]],
            ]
        )
    return words


def read_words(words: list[str]) -> None:
    request = parse(with_recipe(words), _COMMANDS, "")
    if isinstance(request, str):
        return
    request.check()
    parse_methods(getattr(request, "methods", ("none",)))
    if isinstance(request, requests.Sweep):
        cells(parse_grid(request.grid), request.method)


def verdict(read: Callable[[], Any], names: tuple[str, ...] = ("",)) -> str | None:
    """What is wrong with how an input is read; None: nothing is."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"it took more than {_SECONDS} seconds")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except ValueError as error:
        said = str(error)
        if "\n" in said or not any(name in said for name in names):
            return f"said: {said!r}"
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    finally:
        signal.alarm(0)
    return None


def faults_of_files(kind: str, cases: range) -> Iterator[tuple[int, str]]:
    with TemporaryDirectory() as place:
        right, folder = Path(place) / "right", Path(place) / "folder"
        right.mkdir()
        KINDS[kind].make(right)
        shutil.copytree(right, folder)
        KINDS[kind].read(folder)
        paths = sorted(path.relative_to(right) for path in right.rglob("*") if path.is_file())
        for case in cases:
            draw = random.Random(f"{kind} {case}")
            path = draw.choice(paths)
            before = (right / path).read_bytes()
            (folder / path).write_bytes(spoiled(before, draw))
            wrong = verdict(lambda: KINDS[kind].read(folder), (path.name, str(folder)))
            (folder / path).write_bytes(before)
            if wrong:
                yield case, f"{path}: {wrong}"


def faults_of_words(cases: range) -> Iterator[tuple[int, str]]:
    for case in cases:
        words = spoiled_words(random.Random(f"words {case}"))
        wrong = verdict(lambda words=words: read_words(words))
        if wrong:
            yield case, f"{words}: {wrong}"


class _Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        function, *arguments = self.call
        return function, tuple(arguments)


def programs(mark: Path) -> Iterator[Any]:
    """Objects that write a file when they are unpickled."""
    import builtins
    import os
    import subprocess

    yield _Runs(os.system, f"touch {mark}")
    yield _Runs(subprocess.getoutput, f"touch {mark}")
    yield _Runs(builtins.exec, f"open({str(mark)!r}, 'w')")
    yield _Runs(builtins.eval, f"open({str(mark)!r}, 'w')")
    yield _Runs(open, str(mark), "w")
    yield _Runs(Path.touch, mark)
    yield _Runs(np.save, str(mark), np.zeros(1))
    yield _Runs(torch.save, 1, str(mark))
    yield _Runs(shutil.copy, sys.executable, str(mark))


def containers(program: Any, right: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Files that have the program in them, beside what belongs there."""
    for name, content in (("alone", program), ("beside", {**right, "extra": program}), ("key", {**right, program: 1})):
        yield f"{name}, pickle", pickle.dumps(content)
        yield f"{name}, archive", _archive(content)
        yield f"{name}, of torch before 1.6", _saved(content)


def _saved(content: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _archive(content: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content))
        archive.writestr("archive/version", "3")
    return file.getvalue()


def faults_of_programs() -> Iterator[tuple[str, str]]:
    """Every program in every container, where weights, checkpoints and predictions are read."""
    right = {"w": torch.zeros(2)}
    with TemporaryDirectory() as place:
        folder, mark = Path(place), Path(place) / "ran"
        make_comparison(folder)
        places: dict[Path, Callable[[], Any]] = {
            folder / "a.pt": lambda: load_file(SmallResNet(1, 10, 4), folder / "a.pt", 10),
            folder / "a.safetensors": lambda: load_file(SmallResNet(1, 10, 4), folder / "a.safetensors", 10),
            folder / "b.safetensors": lambda: load_trained(folder / "b.safetensors"),
            folder / "checkpoint.pt": lambda: _checkpoint(folder).read(),
            folder / "out/runs/moex/seed0/predictions.npy": lambda: read_records(folder),
        }
        for program in programs(mark):
            array = np.array([program], dtype=object)
            np.save(folder / "array.npy", array, allow_pickle=True)
            files = [*containers(program, right), ("array of objects", (folder / "array.npy").read_bytes())]
            for name, content in files:
                for path, read in places.items():
                    path.write_bytes(content)
                    wrong = verdict(read, (path.name,))
                    ran = "it ran" if mark.exists() else wrong
                    mark.unlink(missing_ok=True)
                    yield f"{program.call[0].__module__}.{program.call[0].__name__} {name} as {path.name}", ran or ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join((*KINDS, 'words', 'programs'))}")
    parser.add_argument("--cases", type=int, default=2000, help="of each kind")
    parser.add_argument("--case", type=int, help="this one alone")
    asked = parser.parse_args()
    cases = range(asked.cases) if asked.case is None else range(asked.case, asked.case + 1)
    found = 0
    for kind in asked.kinds or (*KINDS, "words", "programs"):
        if kind == "programs":
            all_of = list(faults_of_programs())
            number, faults = len(all_of), [(name, wrong) for name, wrong in all_of if wrong]
        else:
            number = len(cases)
            faults = list(faults_of_words(cases) if kind == "words" else faults_of_files(kind, cases))
        for case, wrong in faults:
            print(f"{kind} {case}: {wrong}")
        print(f"{kind}: {number:,} cases, {len(faults)} faults", flush=True)
        found += len(faults)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
