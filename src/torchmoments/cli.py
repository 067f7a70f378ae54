"""The command line. The only file that prints, or decides an exit code.

0 done    1 a run failed    2 the request is wrong, nothing was written    130 stopped with Ctrl-C
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchmoments.lab.config import CompareConfig, ReportConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `torchmoments` with these arguments, those of the process where None; gives the exit code."""
    try:
        import tyro

        from torchmoments.lab.config import CompareConfig, ReportConfig

        config: CompareConfig | ReportConfig = tyro.extras.subcommand_cli_from_dict(
            {"compare": CompareConfig, "report": ReportConfig},
            prog="torchmoments",
            description="Moment Exchange and its relatives, tried on real data.",
            args=arguments,
            config=(tyro.conf.PositionalRequiredArgs,),
        )
        return _report(config) if isinstance(config, ReportConfig) else _compare(config)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "torchmoments":
            raise
        _complain("The command line needs the lab. Install it with: pip install 'torchmoments[lab]'")
        return 2
    except ValueError as error:
        _complain(str(error))
        return 2
    except KeyboardInterrupt:
        _complain("Stopped before the first run.")
        return 130


def _compare(config: "CompareConfig") -> int:
    # The checks that need no PyTorch, before its seconds of import.
    config.check()

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from torchmoments.lab.compare import compare, count_complete

    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("runs", total=None)
            summary = compare(config, lambda done, total: bar.update(task, completed=done, total=total))
    except KeyboardInterrupt:
        kept = count_complete(config.out)
        _complain(f"Stopped. {kept} complete runs are kept in {config.out}; the same command goes on from there.")
        sys.stderr.flush()
        # At once: all workers are gone by now, and taking PyTorch down in order takes another second or more.
        os._exit(130)
    _show(summary, config.out)
    return 1 if summary["failed"] else 0


def _report(config: "ReportConfig") -> int:
    from torchmoments.lab.report import write

    _show(write(config.out, needs_complete=True), config.out)
    return 0


def _show(summary: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    from torchmoments.lab.report import table

    output = Console()
    output.print(table(summary))
    output.print()
    output.print("± is the 95% CI over seeds. s/run is rough: runs share the machine.", style="dim", highlight=False)
    output.print()
    for sentence in summary["conclusion"]:
        output.print(sentence, markup=False, highlight=False)
    output.print(f"\n{out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
