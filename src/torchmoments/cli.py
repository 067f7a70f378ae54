"""The command line. The only file that prints, or decides an exit code.

0 done    1 a run failed    2 the request is wrong, nothing was written    130 stopped with Ctrl-C
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torchmoments.lab.bench.config import Op, Step
    from torchmoments.lab.config import CompareConfig, PlacesConfig, ReportConfig, SingleConfig
    from torchmoments.lab.inspect.config import InspectConfig
    from torchmoments.lab.probe.config import ProbeConfig
    from torchmoments.lab.report.page import Table
    from torchmoments.lab.sweep.config import SweepConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `torchmoments` with these arguments, those of the process where None; gives the exit code."""
    try:
        import tyro

        from torchmoments.lab.bench.config import Op, Step, bench
        from torchmoments.lab.config import CompareConfig, PlacesConfig, ReportConfig, SingleConfig
        from torchmoments.lab.inspect.config import InspectConfig
        from torchmoments.lab.probe.config import ProbeConfig
        from torchmoments.lab.recipes import with_recipe
        from torchmoments.lab.sweep.config import SweepConfig

        commands: dict[str, Callable[..., Any]] = {
            "compare": CompareConfig,
            "sweep": SweepConfig,
            "probe": ProbeConfig,
            "inspect": InspectConfig,
            "train": SingleConfig,
            "places": PlacesConfig,
            "report": ReportConfig,
            "bench": bench,
        }
        config: Any = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="torchmoments",
            description="Moment Exchange and its relatives, tried on real data.",
            args=with_recipe(sys.argv[1:] if arguments is None else arguments),
            config=(tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
        if not isinstance(config, ReportConfig):
            # The checks that need no PyTorch, before its seconds of import.
            config.check()
        answers: dict[type, Callable[[Any], int]] = {
            CompareConfig: _compare,
            SweepConfig: _sweep,
            ProbeConfig: _probe,
            InspectConfig: _inspect,
            SingleConfig: _train,
            PlacesConfig: _places,
            ReportConfig: _report,
            Op: _bench,
            Step: _bench,
        }
        return answers[type(config)](config)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "torchmoments":
            raise
        _complain("The command line needs the lab. Install it with: pip install 'torchmoments[lab]'")
        return 2
    except ValueError as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone, as `| head` does; nor can the interpreter flush it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(f"a file could not be read or written: {error}.")
        return 1
    except KeyboardInterrupt:
        _complain("Stopped before the first run.")
        return 130


def _compare(config: "CompareConfig") -> int:
    from rich.console import Console

    from torchmoments.lab.comparison import compare

    output = Console()

    def notice(said: str) -> None:
        output.print(said, markup=False, highlight=False)

    summary = _resumable(config.out, lambda progress: compare(config, progress, notice))
    _show(summary, config.out)
    return 1 if summary["failed"] else 0


def _sweep(config: "SweepConfig") -> int:
    from torchmoments.lab.sweep.report import tables
    from torchmoments.lab.sweep.sweep import sweep

    summary = _resumable(config.out, lambda progress: sweep(config, progress))
    _print(tables(summary), summary["conclusion"], config.out / "sweep.png")
    return 1 if summary["failed"] else 0


def _probe(config: "ProbeConfig") -> int:
    from torchmoments.lab.probe.probe import probe
    from torchmoments.lab.probe.report import table

    summary = _resumable(config.out, lambda progress: probe(config, progress))
    _print([table(summary, config.norms)], summary["conclusion"], config.out / "probe.png")
    return 1 if summary["failed"] else 0


def _inspect(config: "InspectConfig") -> int:
    from torchmoments.lab.inspect.inspect import inspect

    try:
        paths = inspect(config)
    except RuntimeError as error:
        _complain(f"the training failed: {error}")
        return 1
    for path in paths:
        print(path)
    return 0


def _resumable(out: Path, work: Callable[[Callable[[int, int], None]], dict[str, Any]]) -> dict[str, Any]:
    """Do the work under a progress bar; Ctrl-C ends the process, and says what is kept."""
    from torchmoments.lab.comparison import count_complete

    try:
        with _progress("runs") as progress:
            return work(progress)
    except KeyboardInterrupt:
        kept = count_complete(out)
        _stop_at_once(f"Stopped. {kept} complete runs are kept in {out}; the same command goes on from there.")


def _report(config: "ReportConfig") -> int:
    from torchmoments.lab.report.report import write

    _show(write(config.out, needs_complete=True), config.out)
    return 0


def _show(summary: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    from torchmoments.lab.report.report import table

    output = Console()
    output.print(table(summary))
    output.print()
    output.print("± is the 95% CI over seeds. s/run is rough: runs share the machine.", style="dim", highlight=False)
    output.print()
    for sentence in summary["conclusion"]:
        output.print(sentence, markup=False, highlight=False)
    output.print(f"\n{out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _print(tables: "list[Table]", sentences: list[str], written: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Shown
    from rich.text import Text

    output = Console()
    for table in tables:
        shown = Shown(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for heading in table.headings:
            shown.add_column(Text(heading), overflow="fold")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        output.print(Text(table.caption), style="dim")
        output.print(shown)
        output.print()
    for sentence in sentences:
        output.print(sentence, markup=False, highlight=False)
    output.print(f"\n{written}", markup=False, highlight=False, soft_wrap=True)


def _train(config: "SingleConfig") -> int:
    from rich.console import Console

    from torchmoments.lab.single import is_first_rank, train_once

    output = Console(quiet=not is_first_rank())
    try:
        with _progress("epochs", quiet=not is_first_rank()) as progress:
            summary = train_once(config, progress, lambda said: output.print(said, markup=False, highlight=False))
    except KeyboardInterrupt:
        _stop_at_once(f"Stopped. What {config.out} holds is kept; the same command goes on from its last whole epoch.")
    except FloatingPointError as error:
        _complain(f"{config.method} seed {config.seed} failed: {error}")
        return 1
    said = f"{summary['metric']} {summary['error']:.2f}% after {summary['epochs']} epochs, {summary['seconds']:.1f} s"
    output.print(
        f"{said} of training.\nWritten to {config.out}: weights.safetensors, summary.json, metrics.csv", highlight=False
    )
    return 0


def _places(config: "PlacesConfig") -> int:
    from rich.console import Console

    from torchmoments.lab.places import list_places

    for part in list_places(config):
        Console().print(part, highlight=False)
    return 0


def _bench(config: "Op | Step") -> int:
    from rich.console import Console

    from torchmoments.lab.bench import run
    from torchmoments.lab.bench.table import line

    output = Console()
    try:
        for row in run(config):
            output.print(line(row), markup=False, highlight=False, soft_wrap=True)
    except (ImportError, RuntimeError) as error:
        _complain(str(error))
        return 2 if isinstance(error, ImportError) else 1
    output.print(f"Written to {config.out} and .png", markup=False, highlight=False, soft_wrap=True)
    return 0


@contextmanager
def _progress(unit: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, told (done, total); nothing where standard error is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _stop_at_once(sentence: str) -> NoReturn:
    _complain(sentence)
    sys.stderr.flush()
    # All workers are gone by now, and taking PyTorch down in order takes another second or more.
    os._exit(130)


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
