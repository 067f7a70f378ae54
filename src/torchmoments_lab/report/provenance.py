"""How runs were made: commands, settings, versions, hardware and history."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from torchmoments_lab.report import wording
from torchmoments_lab.report.page import Block, Command, Section, Table, Text
from torchmoments_lab.report.runs import Comparison, Runs
from torchmoments_lab.report.summary import About, Environment
from torchmoments_lab.settings import Setting
from torchmoments_lab.typed import counted


def facts(about: About, seeds: Sequence[int]) -> list[str]:
    """Data, model and sizes, for the head of a report; `seeds` are the numbers of complete runs of its methods."""
    few, many = min(seeds, default=0), max(seeds, default=0)
    settings = about.settings
    found = [f"classes: {settings['classes']}"] if settings.get("classes") is not None else []
    found += [str(settings["model"])] if settings.get("model") is not None else []
    found += [
        counted(number, what)
        for number, what in ((settings.get("train_size"), "training image"), (settings.get("epochs"), "epoch"))
        if isinstance(number, int)
    ]
    found.append(wording.seeds(many) if few == many else f"{few} to {wording.seeds(many)}")
    return found if about.images is None else [*found, counted(about.images, f"{about.split} image")]


def of_comparison(comparison: Comparison) -> Section:
    commands = [_lines(event.command) for event in comparison.history if event.command]
    many = len(commands) > 1
    intro = [Text("These commands make it, in this order:" if many else "This command makes it:")] if commands else []
    history = [[_time(event.time), ", ".join(event.methods), str(event.seeds)] for event in comparison.history]
    asked = Table("What was asked for, and when", ["Time", "Methods", "Seeds"], history, numbers=False)
    blocks: list[Block] = [*intro, *map(Command, commands), *of_runs(comparison.settings, comparison.runs), asked]
    return Section("How it was made", blocks)


def of_runs(settings: Mapping[str, Setting], runs: Runs) -> list[Table]:
    """The settings that all runs share, and their environments."""
    rows = [[name.replace("_", " "), _plain(value)] for name, value in settings.items()]
    tables = [Table("Settings that all runs share", ["Setting", "Value"], rows, numbers=False)]
    environments = [run.env for of_method in runs.values() for run in of_method.values()]
    names = dict.fromkeys(name for environment in environments for name in environment)
    if names:
        used = [[name.replace("_", " "), _in_runs(environments, name)] for name in names]
        tables.append(Table("Versions and hardware", ["What", "Used"], used, numbers=False))
    return tables


def _lines(words: Iterable[str]) -> str:
    """A command for a shell, a flag a line."""
    return "".join(f" \\\n    {word}" if word.startswith("--") else f" {shlex.quote(word)}" for word in words).lstrip()


def _time(stamp: str | None) -> str:
    return wording.NONE if stamp is None else stamp.replace("T", " ").replace("+00:00", " UTC")


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return wording.NONE if value is None else str(value)


def _in_runs(environments: Sequence[Environment], name: str) -> str:
    """The value of `name` in all runs, or each of its values with the number of runs that have it."""
    counts = Counter(_plain(environment.get(name)) for environment in environments)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({counted(count, 'run')})" for value, count in counts.items())
