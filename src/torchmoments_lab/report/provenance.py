"""How a comparison was made: its commands, settings, versions, hardware and history."""

import shlex
from collections import Counter
from typing import Any

from torchmoments_lab.report.page import Block, Command, Section, Table, Text
from torchmoments_lab.report.reading import Comparison
from torchmoments_lab.report.wording import NONE


def section(comparison: Comparison) -> Section:
    settings = [[name.replace("_", " "), _plain(value)] for name, value in comparison.settings.items()]
    blocks: list[Block] = []
    commands = [_shown(event["command"]) for event in comparison.history if event.get("command")]
    if commands:
        many = len(commands) > 1
        blocks.append(Text("These commands make it, in this order:" if many else "This command makes it:"))
        blocks += map(Command, commands)
    blocks.append(Table("Settings that all runs share", ["Setting", "Value"], settings, numbers=False))
    environments = [run["env"] for of_method in comparison.runs.values() for run in of_method.values()]
    names = dict.fromkeys(name for environment in environments for name in environment)
    if names:
        used = [[name.replace("_", " "), _counted(environments, name)] for name in names]
        blocks.append(Table("Versions and hardware", ["What", "Used"], used, numbers=False))
    history = [
        [_time(event.get("time")), ", ".join(event["methods"]), str(event["seeds"])] for event in comparison.history
    ]
    blocks.append(Table("What was asked for, and when", ["Time", "Methods", "Seeds"], history, numbers=False))
    return Section("How it was made", blocks)


def _shown(words: list[str]) -> str:
    """A command for a shell, a flag a line."""
    return "".join(f" \\\n    {word}" if word.startswith("--") else f" {shlex.quote(word)}" for word in words).lstrip()


def _time(stamp: str | None) -> str:
    return NONE if stamp is None else stamp.replace("T", " ").replace("+00:00", " UTC")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)


def _counted(environments: list[dict[str, Any]], name: str) -> str:
    """The value of `name` in all runs, or each of its values with the number of runs that have it."""
    counts = Counter(_plain(environment.get(name)) for environment in environments)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in counts.items())
