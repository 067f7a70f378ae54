"""The command line. The only file that prints, or decides an exit code.

0 done    1 a run failed    2 the request is wrong, nothing was written
130 stopped with Ctrl-C    143 by SIGTERM    129 by SIGHUP
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from torchmoments_lab.process import Terminated, accept_any_terminal, ending_in_order, keep_memory, without_collector

if TYPE_CHECKING:
    from torchmoments_lab.bench.config import Op, Step
    from torchmoments_lab.config import CompareConfig, PlacesConfig, ReportConfig, SingleConfig
    from torchmoments_lab.inspect.config import InspectConfig
    from torchmoments_lab.probe.config import ProbeConfig
    from torchmoments_lab.sweep.config import SweepConfig


Progress = Callable[[int, int], None]
STOPPED = (KeyboardInterrupt, Terminated)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `torchmoments` with these arguments, those of the process where None; gives the exit code."""
    accept_any_terminal()
    with ending_in_order():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        import tyro

        from torchmoments_lab.bench.config import Op, Step, bench
        from torchmoments_lab.config import CompareConfig, PlacesConfig, ReportConfig, SingleConfig
        from torchmoments_lab.inspect.config import InspectConfig
        from torchmoments_lab.probe.config import ProbeConfig
        from torchmoments_lab.recipes import with_recipe
        from torchmoments_lab.sweep.config import SweepConfig

        commands: dict[str, tuple[Callable[..., Any], Callable[[Any], int]]] = {
            "compare": (CompareConfig, _compare),
            "sweep": (SweepConfig, _sweep),
            "probe": (ProbeConfig, _probe),
            "inspect": (InspectConfig, _inspect),
            "train": (SingleConfig, _train),
            "places": (PlacesConfig, _places),
            "report": (ReportConfig, _report),
            "bench": (bench, _bench),
        }
        config: Any = tyro.extras.subcommand_cli_from_dict(
            {name: settings for name, (settings, _) in commands.items()},
            prog="torchmoments",
            description="Moment Exchange and its relatives, tried on real data.",
            args=with_recipe(arguments),
            config=(tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
        # The checks that need no PyTorch, before its seconds of import.
        config.check()
        answers = dict(commands.values()) | {Op: _bench, Step: _bench}
        return answers[type(config)](config)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0].startswith("torchmoments"):
            raise
        _complain("The command line needs the lab. Install it with: pip install 'torchmoments[lab]'")
        return 2
    except ValueError as error:
        # Whoever types a command has no Python to call.
        _complain(str(error).replace("torchmoments.places(model)", "`torchmoments places`"))
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does; nor can the interpreter flush it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(f"a file could not be read or written: {error}.")
        return 1
    except STOPPED as stop:
        trains = set(arguments[:1]) <= {"compare", "sweep", "probe", "train", "inspect"}
        _complain("Stopped before the first run." if trains else "Stopped.")
        return _exit_code(stop)


def _compare(config: "CompareConfig") -> int:
    with without_collector():
        from torchmoments_lab.comparison import compare
        from torchmoments_lab.report.terminal import of_comparison

    summary = _resumable(config.out, lambda progress: compare(config, progress, _print))
    _print(*of_comparison(summary), "", config.out / "report.html")
    return 1 if summary["failed"] else 0


def _sweep(config: "SweepConfig") -> int:
    with without_collector():
        from torchmoments_lab.report.terminal import of_tables
        from torchmoments_lab.sweep.report import tables
        from torchmoments_lab.sweep.sweep import sweep

    summary = _resumable(config.out, lambda progress: sweep(config, progress, _print))
    _print(*of_tables(tables(summary)))
    # With a command to copy.
    _print(*summary["conclusion"], "", config.out / "sweep.png", whole=True)
    return 1 if summary["failed"] else 0


def _probe(config: "ProbeConfig") -> int:
    with without_collector():
        from torchmoments_lab.probe.probe import probe
        from torchmoments_lab.probe.report import table
        from torchmoments_lab.report.terminal import of_tables

    summary = _resumable(config.out, lambda progress: probe(config, progress, _print))
    _print(*of_tables([table(summary, config.norms)]), *summary["conclusion"], "", config.out / "probe.png")
    return 1 if summary["failed"] else 0


def _inspect(config: "InspectConfig") -> int:
    with without_collector():
        from torchmoments_lab.inspect.inspect import inspect

    keep_memory()
    try:
        _print(*inspect(config, _print))
    except STOPPED as stop:
        _stop_with_runs(stop, config.out)
    except RuntimeError as error:
        _complain(f"the training failed: {error}")
        return 1
    return 0


def _train(config: "SingleConfig") -> int:
    with without_collector():
        import lightning_fabric  # noqa: F401  # the training needs it, and its import is faster in here

        from torchmoments_lab.prepare import silent
        from torchmoments_lab.single import CHECKPOINT, is_first_rank, train_once

    keep_memory()
    first = is_first_rank()
    try:
        with _progress("epochs", quiet=not first) as progress:
            summary = train_once(config, progress, _print if first else silent)
    except STOPPED as stop:
        # The first process speaks for the others.
        if not first:
            os._exit(_exit_code(stop))
        if (config.out / CHECKPOINT).exists():
            kept = f"What {config.out} holds is kept; the same command goes on from its last whole epoch."
            _stop_at_once(stop, f"Stopped. {kept}")
        if not config.out.exists():
            raise
        _stop_at_once(stop, "Stopped before the first epoch was complete.")
    except FloatingPointError as error:
        _complain(f"{config.method} seed {config.seed} failed: {error}")
        return 1
    if first:
        judged, spent = f"{summary['metric']} {summary['error']:.2f}%", f"{summary['seconds']:.1f} s"
        _print(
            f"{judged} after {summary['epochs']} epochs, {spent} of training.",
            f"Written to {config.out}: weights.safetensors, summary.json, metrics.csv",
        )
    return 0


def _places(config: "PlacesConfig") -> int:
    with without_collector():
        from torchmoments_lab.places import list_places

    _print(*list_places(config, _print))
    return 0


def _report(config: "ReportConfig") -> int:
    from torchmoments_lab.report.report import write
    from torchmoments_lab.report.terminal import of_comparison

    summary = write(config.out, needs_complete=True)
    _print(*of_comparison(summary), "", config.out / "report.html")
    return 1 if summary["failed"] else 0


def _bench(config: "Op | Step") -> int:
    from torchmoments_lab.bench import run
    from torchmoments_lab.bench.table import line

    try:
        for row in run(config):
            _print(line(row), whole=True)
    except (ImportError, RuntimeError) as error:
        _complain(str(error))
        return 2 if isinstance(error, ImportError) else 1
    _print(f"Written to {config.out} and .png", whole=True)
    return 0


def _resumable(out: Path, work: Callable[[Progress], dict[str, Any]]) -> dict[str, Any]:
    """Do the work under a progress bar; Ctrl-C and SIGTERM end the process, and say what is kept."""
    keep_memory()
    try:
        with _progress("runs") as progress:
            return work(progress)
    except STOPPED as stop:
        _stop_with_runs(stop, out)


def _print(*parts: Any, whole: bool = False) -> None:
    """Print tables and sentences, one below the other.

    Sentences are wrapped to the terminal, unless they are to stay `whole`; paths never are, so that they can be copied.
    """
    from rich.console import Console

    output = Console()
    for part in parts:
        shown = str(part) if isinstance(part, Path) else part
        output.print(shown, markup=False, highlight=False, soft_wrap=whole or isinstance(part, Path))


@contextmanager
def _progress(unit: str, quiet: bool = False) -> Iterator[Progress]:
    """A bar on the terminal, told (done, total); nothing where standard error is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _stop_with_runs(stop: BaseException, out: Path) -> NoReturn:
    """End the process, and say how many runs are kept; raise again where none has begun."""
    from torchmoments_lab.report.reading import count_complete

    if not any(path.is_dir() for pattern in ("runs", "*/runs") for path in out.glob(pattern)):
        raise stop
    _stop_at_once(
        stop, f"Stopped. {count_complete(out)} complete runs are kept in {out}; the same command goes on from there."
    )


def _stop_at_once(stop: BaseException, sentence: str) -> NoReturn:
    _complain(sentence)
    sys.stderr.flush()
    # The end of processes that read images is no error any more.
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # They are ended here, and semaphores given back. Taking PyTorch down in order takes another second or more.
    atexit._run_exitfuncs()
    os._exit(_exit_code(stop))


def _exit_code(stop: BaseException) -> int:
    return 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)
