"""Ends a command at each of its file operations, starts it again, and compares the folder with an undisturbed one.

    python tests/lab/kills.py                       every case of every command
    python tests/lab/kills.py compare train         of these
    python tests/lab/kills.py --only killed         in this way

killed    the process is gone before the operation, as after SIGKILL or without power
torn      it is gone in the middle of a write: the file has a part of its content; at operations that write alone
full      the operation and all writes after it fail, as on a full disk: one sentence says so; at those too
"""

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FAST = ["--data", "digits", "--train-size", "20", "--width", "4", "--batch-size", "10", "--tensorboard"]
COMMANDS = {
    "compare": ["--methods", "none", "moex", "--seeds", "1", "--workers", "1", "--epochs", "2", "--keep-weights"],
    "sweep": ["--grid", "lam=0.5/0.9", "lr=0.1/0.01", "--controls", "--seeds", "1", "--workers", "1", "--epochs", "1"],
    "probe": ["--norms", "pono", "--seeds", "1", "--workers", "1", "--quick", "--epochs", "1"],
    "train": ["--method", "moex", "--epochs", "2"],
}
WAYS = ("killed", "torn", "full")
# What a run is; times and what is made of them differ.
_SAME = ("predictions.npy", "metrics.csv", "config.json", "weights.safetensors")
_WRITING = ("open", "os.mkdir")
_WRITES = os.O_WRONLY | os.O_RDWR
_GONE = 99


@dataclass(frozen=True)
class Case:
    """A command that ends at its file operation of this number, counted from 0."""

    command: str
    way: str
    number: int

    def __str__(self) -> str:
        return f"{self.command} {self.way} at operation {self.number}"


def undisturbed(command: str, folder: Path) -> tuple[list[str], dict[str, bytes | None]]:
    """The events of the file operations of a command, and what it makes."""
    seen, out = folder / "operations", folder / "out"

    def note(_number: int, event: str, _path: str) -> None:
        with seen.open("a") as file:
            file.write(f"{event}\n")

    code, said = _start(command, out, note)
    assert code == 0, said
    return seen.read_text().splitlines(), content(out)


def content(out: Path) -> dict[str, bytes | None]:
    """{path: content of files that are the same each time, None of others}."""
    return {
        str(path.relative_to(out)): path.read_bytes() if path.name in _SAME else None
        for path in sorted(out.rglob("*"))
        if path.is_file() and "tfevents" not in path.name
    }


def fault(case: Case, folder: Path, expected: dict[str, bytes | None]) -> str | None:
    """What is wrong after the command has ended so and was started again; None: nothing is."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    end: Callable[..., None] = {"killed": _killed, "torn": _torn, "full": _full}[case.way]
    code, said = _start(case.command, out, lambda number, *what: end(number - case.number, *what))
    if case.way == "full":
        # 2 before it has begun; 0 if nothing was left to write.
        told = "Traceback" not in said and "No space left on device" in said.splitlines()[-1]
        if code not in (0, 1, 2) or (code > 0 and not told):
            return f"exit code {code}, and said was: {said}"
        left = [str(path) for path in out.rglob("*.unfinished")]
        if left:
            return f"left behind: {', '.join(left)}"
    elif code not in (_GONE, 0):
        return f"exit code {code}, and said was: {said}"
    code, said = _start(case.command, out)
    if code != 0:
        return f"started again, it ended with exit code {code}, and said: {said}"
    came = content(out)
    different = [path for path in {**expected, **came} if path not in came or expected.get(path, b"") != came[path]]
    return f"different: {', '.join(different)}" if different else None


def _killed(number: int, _event: str, _path: str) -> None:
    if number == 0:
        os._exit(_GONE)


def _torn(number: int, event: str, path: str) -> None:
    if number == 0:
        if event == "open":
            with Path(path).open("ab") as file:
                file.write(b'{"torn')
        os._exit(_GONE)


def _full(number: int, event: str, path: str) -> None:
    # What removes or moves a file works on a full disk.
    if number >= 0 and event in _WRITING:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _start(command: str, out: Path, operation: Callable[..., None] | None = None) -> tuple[int, str]:
    """Run a command in a copy of this process, with everything imported already; its exit code and what it said.

    Args:
        operation: called before each file operation in `out` with its number, the name of its event, and its path.
    """
    said = out.with_name("said")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            if operation is not None:
                sys.addaudithook(_Hook(str(out), operation))
            code = _main([command, *FAST, *COMMANDS[command], "--out", str(out)])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.read_text()


def _main(words: list[str]) -> int:
    from torchmoments_lab import runs
    from torchmoments_lab.cli import main

    # Every epoch.
    runs._SECONDS_BETWEEN_CHECKPOINTS = 0
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class _Hook:
    """Sees the file operations of a process; what they do in a folder is passed on."""

    def __init__(self, out: str, operation: Callable[..., None]) -> None:
        self.out, self.operation, self.number, self.is_busy = out, operation, 0, False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_busy or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if not path.startswith(self.out) or (event == "open" and not arguments[2] & _WRITES):
            return
        self.is_busy = True
        try:
            self.operation(self.number, event, path)
        finally:
            self.number += 1
            self.is_busy = False


def cases(command: str, events: list[str], ways: tuple[str, ...], of_each: int | None = None) -> Iterator[Case]:
    """Each way at every operation where it makes a difference, or at so many of these, apart from one another."""
    for place, way in enumerate(ways):
        of_way = [number for number, event in enumerate(events) if way == "killed" or event in _WRITING]
        if of_each is not None:
            # The ways meet different ones.
            share = len(of_way) / of_each
            of_way = [of_way[int((number + (place + 0.5) / len(ways)) * share)] for number in range(of_each)]
        for number in of_way:
            yield Case(command, way, number)


def import_all() -> None:
    """So that copies of this process need not."""
    import sklearn.datasets  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    import torchmoments_lab.comparison
    import torchmoments_lab.display
    import torchmoments_lab.parser
    import torchmoments_lab.probe.probe
    import torchmoments_lab.single
    import torchmoments_lab.sweep.sweep  # noqa: F401
    from torchmoments_lab.process import import_fabric

    import_fabric()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--only", choices=WAYS)
    parser.add_argument("--of-each", type=int, help="end each command so often in each way")
    asked = parser.parse_args()
    import_all()
    ways, found = (asked.only,) if asked.only else WAYS, 0
    for command in asked.commands or COMMANDS:
        with TemporaryDirectory() as folder:
            events, expected = undisturbed(command, Path(folder))
            all_of = list(cases(command, events, ways, asked.of_each))
            for case in all_of:
                wrong = fault(case, Path(folder), expected)
                if wrong is not None:
                    found += 1
                    print(f"{case}: {wrong}", flush=True)
            print(f"{command}: {len(events)} file operations, {len(all_of)} cases", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
