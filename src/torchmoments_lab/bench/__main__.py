"""`python -m torchmoments_lab.bench op` and `step` need PyTorch alone. They print the rows, and add them to the CSV."""

import argparse
import dataclasses
import json
import sys
import types
import typing

from torchmoments_lab.bench.config import Op, Step


def main(arguments: list[str] | None = None) -> int:
    """Measure; gives the exit code."""
    kinds = {"op": Op, "step": Step}
    parser = argparse.ArgumentParser(prog="python -m torchmoments_lab.bench", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    for word, kind in kinds.items():
        _add_flags(commands.add_parser(word, description=kind.__doc__), kind)
    values = vars(parser.parse_args(arguments))
    kind = kinds[values.pop("command")]
    config = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    from torchmoments_lab.bench import run

    try:
        for row in run(config):
            print(json.dumps(row), flush=True)
    except (ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _add_flags(parser: argparse.ArgumentParser, config: type) -> None:
    types_of = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        flag, kind = f"--{field.name.replace('_', '-')}", types_of[field.name]
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        elif typing.get_origin(kind) is tuple:
            parser.add_argument(flag, nargs="*", default=field.default)
        else:
            one = next(part for part in typing.get_args(kind) if part is not type(None)) if _is_union(kind) else kind
            parser.add_argument(flag, type=one, default=field.default)


def _is_union(kind: object) -> bool:
    return isinstance(kind, types.UnionType)


if __name__ == "__main__":
    sys.exit(main())
