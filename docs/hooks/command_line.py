"""Writes the commands and their options into docs/command-line.md, from the settings themselves.

A section for each command. Groups of settings that several commands share, with the same defaults, stand once, below
the commands, and each of these links to them.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from mkdocs.structure.pages import Page

from torchmoments_lab import requests
from torchmoments_lab.flags import is_group
from torchmoments_lab.parser import described, metavar
from torchmoments_lab.typed import Settings

PLACE = re.compile(r"<!-- commands -->.*<!-- end of commands -->", re.DOTALL)
FLAG = re.compile(r"(?<![\w`-])--[a-z][a-z-]*")
# The name of a group is its class; what it is called on the page.
TITLES = {
    "DataSettings": "Data",
    "ModelSettings": "Model",
    "Preprocessing": "Preprocessing",
    "TrainingSettings": "Training",
    "Judging": "What is judged",
    "RunSettings": "Runs",
    "PlannedRuns": "Runs",
    "Parallel": "Where runs train",
    "Execution": "Beside training",
}


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    return PLACE.sub(lambda _: text(), markdown) if page.file.src_uri == "command-line.md" else markdown


def commands() -> dict[str, type[Settings]]:
    """{name: what it is asked for}, in the order of the sources."""
    found = (kind for kind in vars(requests).values() if inspect.isclass(kind) and issubclass(kind, Settings))
    mine = [kind for kind in found if kind.__module__ == requests.__name__ and kind is not requests.Setup]
    return {kind.__name__.lower(): kind for kind in mine}


def text() -> str:
    shared = [group for group in groups_of_all() if sum(group in groups_of(kind) for kind in commands().values()) > 1]
    return "\n\n".join(
        [*(_command(name, kind, shared) for name, kind in commands().items()), *(_shared(group) for group in shared)]
    )


def groups_of(kind: type[Settings]) -> list[Settings]:
    """The groups of settings of a command, with its defaults."""
    return [field.default for field in fields(kind) if is_group(field.type)]  # type: ignore[misc]


def groups_of_all() -> list[Settings]:
    found: list[Settings] = []
    for kind in commands().values():
        found += [group for group in groups_of(kind) if group not in found]
    return found


def _command(name: str, kind: type[Settings], shared: list[Settings]) -> str:
    own = [_option(kind, field, field.default) for field in fields(kind) if not is_group(field.type)]
    of_group = [option for group in groups_of(kind) if group not in shared for option in _options(group)]
    links = [f"[{_title(group)}](#{_anchor(group)})" for group in groups_of(kind) if group in shared]
    more = f"Also: {', '.join(links)}." if links else ""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    about = "\n\n".join(_marked(" ".join(paragraph.split())) for paragraph in paragraphs)
    heading = f"## {name} {{ #{name} }}"
    return "\n\n".join(part for part in (heading, about, "\n\n".join([*own, *of_group]), more) if part)


def _shared(group: Settings) -> str:
    of = [f"[{name}](#{name})" for name, kind in commands().items() if group in groups_of(kind)]
    head = f"## {_title(group)} {{ #{_anchor(group)} }}"
    return "\n\n".join([head, f"{_marked(type(group).__doc__ or '')} Of {', '.join(of)}.", *_options(group)])


def _title(group: Settings) -> str:
    return TITLES[type(group).__name__]


def _anchor(group: Settings) -> str:
    return f"settings-{type(group).__name__.lower()}"


def _options(group: Settings) -> Iterator[str]:
    return (_option(type(group), field, getattr(group, field.name)) for field in fields(group))


def _option(kind: type[Settings], field: Field[Any], default: Any) -> str:
    """A term and its definition."""
    flag = field.name.replace("_", "-")
    if default is MISSING:
        term = f"`{flag.upper()}`"
        shown = "required"
    elif field.type is bool:
        term = f"`--{flag}`, `--no-{flag}`"
        shown = "on" if default else "off"
    else:
        term = f"`--{flag} {metavar(field).replace('{', '').replace('}', '').replace(',', '|')}`"
        shown = _default(default)
    return f"{term} <small>default: {shown}</small>\n:   {_marked(described(kind, field.name) or '')}".replace(
        "default: required", "required"
    )


def _default(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return f"`{' '.join(map(str, value))}`" if isinstance(value, tuple) else f"`{value}`"


def _marked(words: str) -> str:
    """Help text as Markdown: flags as code, and nothing of it taken for HTML."""
    return FLAG.sub(lambda flag: f"`{flag[0]}`", words.replace("<", "&lt;"))
