"""The modules of a user's model that a mixer can be attached to, by name."""

import contextlib
import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Place(NamedTuple):
    """A module that can be attached to.

    Attributes:
        name: the name to pass to `attach(..., at=name)`.
        kind: the class of the module.
        shape: the shape of its output in the first call; None if the output is not a tensor, or no input was given.
        calls: the number of calls in one forward; None if no input was given.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None = None
    calls: int | None = None


def places(model: nn.Module, x: Any = None) -> list[Place]:
    """List the modules that can be attached to, in order of definition or, given an input, in the order they finish.

    Args:
        model: any model. Its mode, buffers and parameters stay as they are.
        x: an input: a tensor, a tuple of arguments or a dict of keyword arguments. The model is run on it once, in eval
            mode and without gradients.

    Returns:
        One Place per module. Given an input, modules that do not run are left out.
    """
    named = {module: name for name, module in model.named_modules() if name}
    if x is None:
        return [Place(name, type(module).__name__) for module, name in named.items()]
    found: dict[str, Place] = {}

    def note(module: nn.Module, _arguments: Any, output: Any) -> None:
        name = named[module]
        if name in found:
            found[name] = found[name]._replace(calls=(found[name].calls or 0) + 1)
        else:
            shape = tuple(output.shape) if isinstance(output, Tensor) else None
            found[name] = Place(name, type(module).__name__, shape, 1)

    handles = [module.register_forward_hook(note) for module in named]
    try:
        with _eval_mode(model), torch.no_grad():
            if isinstance(x, Mapping):
                model(**x)
            elif isinstance(x, tuple):
                model(*x)
            else:
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def find_modules(model: nn.Module, at: str | Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules that `attach(..., at=...)` attaches to.

    Args:
        model: any model.
        at: the name of a module, several names, or globs, in which * does not match a dot ("layer*.0.bn?").

    Returns:
        The modules by name, in the order of `at`. A module that matches several times or has several names appears
        once.

    Raises:
        ValueError: no module matches a name; the error suggests the nearest name. Or `at` is empty or not a name.
    """
    wanted = [at] if isinstance(at, str) else list(at) if isinstance(at, Sequence) else [at]
    if not all(isinstance(name, str) for name in wanted):
        raise ValueError(
            f"at needs the name of a module or several; got {at!r}. All names: torchmoments.places(model)."
        )
    if not wanted:
        raise ValueError("at needs the name of a module or several; got none. All names: torchmoments.places(model).")
    named = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    found: dict[str, nn.Module] = {}
    for pattern in wanted:
        matches = [name for name in named if _matches(name, pattern)]
        if not matches:
            raise ValueError(_not_found(model, pattern, list(named)))
        for name in matches:
            if named[name] not in found.values():
                found[name] = named[name]
    return found


def _matches(name: str, pattern: str) -> bool:
    levels, wanted = name.split("."), pattern.split(".")
    return len(levels) == len(wanted) and all(map(fnmatch.fnmatchcase, levels, wanted))


def _not_found(model: nn.Module, pattern: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    suggestion = f" Nearest: {nearest[0]!r}." if nearest else ""
    return (
        f"no module {pattern!r} in {type(model).__name__}, so nothing would be mixed.{suggestion} "
        "All names: torchmoments.places(model)."
    )


@contextlib.contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
