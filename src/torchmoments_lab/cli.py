"""The command line. The only file that decides an exit code, or prints; `display` shows what stands meanwhile.

Standard output gets the result, standard error everything else.

0 done    1 a run failed    2 the request is wrong, nothing was written
130 stopped with Ctrl-C    143 by SIGTERM    129 by SIGHUP
"""

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from torchmoments_lab.parser import parse
from torchmoments_lab.process import (
    Terminated,
    accept_any_terminal,
    ending_in_order,
    import_fabric,
    is_first_rank,
    keep_memory,
    without_collector,
)
from torchmoments_lab.typed import counted, visible

if TYPE_CHECKING:
    from torchmoments_lab.jobs import Watch
    from torchmoments_lab.report.page import Table
    from torchmoments_lab.report.summary import About
    from torchmoments_lab.requests import Compare, Export, Inspect, Places, Predict, Probe, Report, Sweep, Train

Summary = TypeVar("Summary")
Notice = Callable[[str], None]
STOPPED = (KeyboardInterrupt, Terminated)
_SECONDS_TO_SPEAK = 10
# What a folder has from the moment on when its runs are known.
_BEGUN = ("comparison.json", "sweep.json", "probe.json", "runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `torchmoments` with these arguments, those of the process if None; returns the exit code."""
    accept_any_terminal()
    with ending_in_order():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        return _obey(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "torchmoments").startswith("torchmoments"):
            raise
        _note("The command line needs the lab. Install it with: pip install 'torchmoments[lab]'")
        return 2
    except ValueError as error:
        # A user of the command line has no Python to call.
        _note(str(error).replace("torchmoments.places(model)", "`torchmoments places`"))
        if not is_first_rank():
            # torchrun ends all with the first that ends: that is to be the one that speaks.
            time.sleep(_SECONDS_TO_SPEAK)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; nor can the interpreter flush it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = error if isinstance(error, ConnectionError) else f"a file could not be read or written: {error}"
        _note(" ".join([f"{what}.", *getattr(error, "__notes__", [])]).strip())
        return 1
    except STOPPED as stop:
        trains = set(arguments[:1]) <= {"compare", "sweep", "probe", "train", "inspect"}
        _note("Stopped before the first run." if trains else "Stopped.")
        return _exit_code(stop)
    except SystemExit as end:
        # Of a user's function: to whoever started the command, its code would say that all is done.
        _note(f"a function of yours ended the program with sys.exit({'' if end.code is None else repr(end.code)}).")
        return 1


def _obey(arguments: Sequence[str]) -> int:
    from torchmoments_lab import requests
    from torchmoments_lab.recipes import with_recipe

    commands: dict[type[Any], Callable[[Any], int]] = {
        requests.Compare: _compare,
        requests.Sweep: _sweep,
        requests.Probe: _probe,
        requests.Inspect: _inspect,
        requests.Train: _train,
        requests.Places: _places,
        requests.Predict: _predict,
        requests.Export: _export,
        requests.Report: _report,
    }
    names = {kind.__name__.lower(): kind for kind in commands}
    request = parse(with_recipe(arguments), names, "Moment Exchange and its relatives, tried on real data.")
    if isinstance(request, str):
        print(request)
        return 0
    # The checks that need no PyTorch, before its seconds of import.
    request.check()
    return commands[type(request)](request)


def _compare(request: "Compare") -> int:
    with without_collector():
        from torchmoments_lab.comparison import compare
        from torchmoments_lab.report.contents import compact

    summary = _resumable(request, lambda watch, notice: compare(request, watch, notice))
    if summary is None:
        return 0
    return _show([compact(summary)], summary, request.out)


def _sweep(request: "Sweep") -> int:
    with without_collector():
        from torchmoments_lab.sweep.report import tables
        from torchmoments_lab.sweep.sweep import sweep

    summary = _resumable(request, lambda watch, notice: sweep(request, watch, notice))
    if summary is None:
        return 0
    return _show(tables(summary), summary, request.out)


def _probe(request: "Probe") -> int:
    with without_collector():
        from torchmoments_lab.probe.probe import probe
        from torchmoments_lab.probe.report import table

    summary = _resumable(request, lambda watch, notice: probe(request, watch, notice))
    if summary is None:
        return 0
    return _show([table(summary)], summary, request.out)


def _inspect(request: "Inspect") -> int:
    with without_collector():
        from torchmoments_lab.display import display
        from torchmoments_lab.inspect.inspect import inspect

    keep_memory()
    try:
        with display() as shown:
            paths = inspect(request, shown.say)
        _print(*paths)
    except STOPPED as stop:
        _stop_with_runs(stop, request.out)
    except RuntimeError as error:
        _note(f"the training failed: {error}")
        return 1
    return 0


def _train(request: "Train") -> int:
    with without_collector():
        # The training needs it, and its import is faster in here.
        import_fabric()
        from torchmoments_lab.display import display
        from torchmoments_lab.single import CHECKPOINT, RankError, train_once

    keep_memory()
    first = is_first_rank()
    kept = f"The last checkpoint is kept in {request.out}; rerun the command to resume."
    try:
        with display(quiet=not first) as shown:
            run = train_once(request, shown.watch, _print if first and request.execution.dry_run else shown.say)
    except STOPPED as stop:
        # The first process speaks for the others, and ends them: Fabric kills it if one of them is gone.
        if not first:
            time.sleep(0 if "TORCHELASTIC_RUN_ID" in os.environ else _SECONDS_TO_SPEAK)
            os._exit(_exit_code(stop))
        if not request.out.exists():
            raise
        has_one = (request.out / CHECKPOINT).exists()
        sentence = f"Stopped. {kept}" if has_one else "Stopped before the first checkpoint."
        _end_at_once(_exit_code(stop), sentence)
    except OSError as error:
        if (request.out / CHECKPOINT).exists():
            error.add_note(kept)
        raise
    except FloatingPointError as error:
        _note(f"{request.method} seed {request.seed} failed: {error}")
        return 1
    except RankError as error:
        # What is left of the connection may end the process by a signal of its own later.
        _end_at_once(1, f"{error}. {kept}" if (request.out / CHECKPOINT).exists() else f"{error}.")
    if first and run is not None:
        seconds = run.summary()["seconds"]
        _print(
            f"{run.outcome(digits=2)} after {counted(run.epochs, 'epoch')}, {seconds:.1f} s of training.",
            f"Written to {request.out}: weights.safetensors, summary.json, metrics.csv",
        )
    return 0


def _places(request: "Places") -> int:
    with without_collector():
        from torchmoments_lab.places import list_places

    _print(*list_places(request, _note))
    return 0


def _predict(request: "Predict") -> int:
    with without_collector():
        from torchmoments_lab.files import write_text
        from torchmoments_lab.inference.predict import predict

    found = predict(request.weights, request.images, device=request.device, batch_size=request.batch_size, notice=_note)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(request.out, found.as_csv())
    counts = ", ".join(f"{name} {number:,}" for name, number in found.counts().items() if number)
    _print(f"{counted(len(found.files), 'picture')}: {counts}.", request.out)
    return 0


def _export(request: "Export") -> int:
    with without_collector():
        from torchmoments_lab.inference.export import export

    assert request.weights is not None
    _print(*export(request.weights, request.out))
    return 0


def _report(request: "Report") -> int:
    from torchmoments_lab.report.contents import compact
    from torchmoments_lab.report.report import write

    summary = write(request.out, metric=request.metric, needs_complete=True)
    return _show([compact(summary)], summary, request.out)


def _show(tables: "list[Table]", summary: "About", out: Path) -> int:
    """Print a summary; returns the exit code."""
    from torchmoments_lab.report.terminal import parts, sentences

    _print(*parts(tables), *sentences(summary.conclusion), "", out / "report.html")
    return 1 if summary.failed else 0


def _resumable(request: "Compare | Sweep | Probe", work: "Callable[[Watch, Notice], Summary | None]") -> Summary | None:
    """Do the work, and show how it gets on; Ctrl-C and SIGTERM end the process, and say what is kept."""
    from torchmoments_lab.display import display

    keep_memory()
    try:
        with display() as shown:
            # What a dry run has to say is its result.
            return work(shown.watch, _print if request.execution.dry_run else shown.say)
    except STOPPED as stop:
        _stop_with_runs(stop, request.out)
    except OSError as error:
        error.add_note(_kept(request.out))
        raise


def _print(*parts: Any) -> None:
    """Print tables and sentences, one below the other; paths and commands are not wrapped, to be copied."""
    from rich.console import Console

    from torchmoments_lab.report.page import Command

    output = Console()
    for part in parts:
        is_whole = isinstance(part, Path | Command)
        words = part.lines if isinstance(part, Command) else str(part) if isinstance(part, Path) else part
        output.print(
            visible(words) if isinstance(words, str) else words, markup=False, highlight=False, soft_wrap=is_whole
        )


def _stop_with_runs(stop: BaseException, out: Path) -> NoReturn:
    """End the process, and say how many runs are kept; raise again if none has begun."""
    kept = _kept(out)
    if not kept:
        raise stop
    _end_at_once(_exit_code(stop), f"Stopped. {kept}")


def _kept(out: Path) -> str:
    """How many runs are complete, and how to go on; nothing if none has begun."""
    from torchmoments_lab.report.reading import count_complete

    if not any((out / name).exists() for name in _BEGUN):
        return ""
    complete = count_complete(out)
    are = f"{counted(complete, 'complete run')} {'is' if complete == 1 else 'are'}"
    return f"{are} kept in {out}; rerun the command to resume."


def _end_at_once(code: int, sentence: str) -> NoReturn:
    _note(sentence)
    sys.stderr.flush()
    # The end of processes that read images is no error any more.
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # They are ended here, and semaphores given back. Taking PyTorch down in order takes another second or more.
    atexit._run_exitfuncs()
    os._exit(code)


def _exit_code(stop: BaseException) -> int:
    return 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)


def _note(sentence: str) -> None:
    """Print a sentence that is no result, as notices and complaints are; one of several processes speaks for all."""
    if is_first_rank():
        print(visible(sentence), file=sys.stderr)
