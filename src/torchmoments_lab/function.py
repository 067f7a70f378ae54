"""A user's function by name: `your.module:function`. The current directory counts too, after Python's own modules."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchmoments_lab.process import exits_are_errors
from torchmoments_lab.typed import nearest


def find_function(what: str, name: str) -> Callable[..., Any]:
    """Import `module:function`.

    Args:
        what: the setting it is for, as an error names it.

    Raises:
        ValueError: there is no such module or function, or importing it fails.
    """
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # Before what is installed: `utils` and `data` are names that others have, too.
        installed = (number for number, path in enumerate(sys.path) if Path(path).name.endswith("-packages"))
        sys.path.insert(next(installed, len(sys.path)), here)
    try:
        with exits_are_errors():
            module = importlib.import_module(module_name)
    except Exception as error:
        # A module that is imported runs, so anything may come.
        raise ValueError(
            f"{what} needs a module that can be imported; got {name!r} ({type(error).__name__}: {error}). "
            f"Write module:function; modules are looked for in '{here}' too."
        ) from error
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(
            f"{what} needs a function in {module_name}; got {function_name!r}. {nearest(function_name, known)}"
        )
    return function
