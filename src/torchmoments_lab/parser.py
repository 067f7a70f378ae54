"""The command line by tyro: what it makes of settings, and its help.

tyro takes the second line of a docstring for a paragraph of its own, so it gets each docstring as one line; it does not
wrap the words on a command, which is done here.
"""

import io
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, get_args, get_origin

from torchmoments_lab.flags import PROGRAM, check, is_group, takes_many, value_of
from torchmoments_lab.typed import Settings, kinds_of

if TYPE_CHECKING:
    from tyro.constructors import PrimitiveConstructorSpec, StructConstructorSpec, StructTypeInfo

_METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def parse(words: Sequence[str], commands: Mapping[str, type[Settings]], description: str) -> Settings | str:
    """What a command is asked for, or the text of its help if that is.

    Raises:
        ValueError: the words are wrong, see `flags.check`.
    """
    import tyro

    if not {"-h", "--help"} & set(words):
        check(words, commands)
    registry = tyro.constructors.ConstructorRegistry()
    registry.struct_rule(_of_settings)
    page = _Page(sys.stdout)
    try:
        with registry, redirect_stdout(page):
            request: Settings = tyro.extras.subcommand_cli_from_dict(
                dict(commands),
                prog=PROGRAM,
                description=description,
                args=words,
                config=(tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
        return request
    except SystemExit as end:
        if end.code:
            raise
        return _wrapped(page.getvalue())


def _of_settings(info: "StructTypeInfo") -> "StructConstructorSpec | None":
    """tyro's rule for settings."""
    from tyro.constructors import MISSING as REQUIRED
    from tyro.constructors import StructConstructorSpec, StructFieldSpec

    kind: Any = info.type
    if not is_group(kind):
        return None
    specs = []
    for field in fields(kind):
        default = getattr(info.default, field.name, REQUIRED if field.default is MISSING else field.default)
        shown: Any = field.type
        if is_group(shown):
            specs.append(StructFieldSpec(name=field.name, type=shown, default=default))
            continue
        shown = shown if shown is bool else Annotated[shown, _value(field)]
        about = partial(described, kind, field.name)
        specs.append(StructFieldSpec(name=field.name, type=shown, default=default, helptext=about))
    return StructConstructorSpec(instantiate=kind, fields=tuple(specs))


def _value(field: Field[Any]) -> "PrimitiveConstructorSpec[Any]":
    """How a setting is read and shown."""
    from tyro.constructors import PrimitiveConstructorSpec

    return PrimitiveConstructorSpec(
        nargs="*" if takes_many(field) else 1,
        metavar=metavar(field),
        instance_from_str=partial(value_of, field),
        is_instance=lambda _: True,
        str_from_instance=lambda value: list(map(str, value if isinstance(value, tuple) else [value])) or ["none"],
    )


def metavar(field: Field[Any]) -> str:
    """One word; that None may be typed too is in no help."""
    if "metavar" in field.metadata:
        return str(field.metadata["metavar"])
    kind, *_ = kinds_of(field.type)
    if get_origin(kind) is Literal:
        return f"{{{','.join(get_args(kind))}}}"
    if get_origin(kind) is tuple:
        return f"[{_METAVARS[get_args(kind)[0]]} ...]"
    return _METAVARS[kind]


def described(kind: type[Settings], name: str) -> str | None:
    """What is written below a setting."""
    from docstring_parser import parse_from_object

    parameters = (parameter for base in kind.__mro__ for parameter in parse_from_object(base).params)
    words = next((parameter.description for parameter in parameters if parameter.arg_name == name), None)
    return None if words is None else " ".join(words.split())


class _Page(io.StringIO):
    """What a stream will show, in the characters and colours that it has."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.isatty = stream.isatty  # type: ignore[method-assign]
        self._encoding = stream.encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def _wrapped(page: str) -> str:
    """Lines outside of boxes, at most as long as the terminal is wide."""
    width = shutil.get_terminal_size().columns
    return "\n".join(textwrap.fill(line, width) if line[:1].isalpha() else line for line in page.splitlines())
