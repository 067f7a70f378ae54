"""A comparison's settings as the command that makes it."""

import shlex
from dataclasses import fields
from typing import Any

from torchmoments_lab.config import CompareConfig


def arguments(config: CompareConfig, settings: dict[str, Any]) -> list[str]:
    """The words of the command, with every setting written out, so that it means the same when a default changes.

    Args:
        config: what was asked for.
        settings: what came of it; gives a value where `config` leaves the choice open.
    """
    words = ["torchmoments", "compare"]
    for field in fields(config):
        value = getattr(config, field.name)
        words += as_flag(field.name, settings.get(field.name) if value is None else value)
    return words


def short(config: CompareConfig) -> str:
    """The command as a person would type it, without what is the default."""
    given = [as_flag(f.name, getattr(config, f.name)) for f in fields(config) if getattr(config, f.name) != f.default]
    return shlex.join(["torchmoments", "compare", *(word for words in given for word in words)])


def as_flag(name: str, value: Any) -> list[str]:
    """The words that give a setting this value."""
    flag = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *(str(v) for v in (value if isinstance(value, tuple | list) else [value]))]
