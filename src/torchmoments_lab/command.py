"""A request as the command that makes it."""

import shlex
from collections.abc import Mapping
from typing import Any

from torchmoments_lab.requests import Compare
from torchmoments_lab.typed import as_flag

# Where it was trained; no result depends on it.
_OF_A_CLUSTER = ("ray", "gpus_per_run")


def command(request: Compare, shared: Mapping[str, Any]) -> list[str]:
    """The arguments of the command, with every setting written out, so that it means the same when a default changes.

    Args:
        shared: settings as resolved: with a value for those that the request leaves open.
    """
    arguments = ["torchmoments", "compare"]
    for name, value in request.values().items():
        if name in (*_OF_A_CLUSTER, *request.execution.values()):
            continue
        # Of a file of weights, what is shared is its digest.
        arguments += as_flag(name, value if name == "weights" else shared.get(name, value))
    return arguments


def short(request: Compare) -> str:
    """The command as a person would type it, without what is the default."""
    default = Compare().values()
    given = [as_flag(name, value) for name, value in request.values().items() if value != default[name]]
    return shlex.join(["torchmoments", "compare", *(word for arguments in given for word in arguments)])
