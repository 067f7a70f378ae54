"""Instance attributes that mark a module as attached, so that compilers notice."""

import weakref
from typing import Any, NoReturn

from torch import nn

from torchmoments.torch_internals import compiler_traces_foreign_methods


class OwnForward:
    """A `forward` instance attribute that calls the `forward` of the class, without keeping the module alive.

    torch.compile shares compiled code between models of the same class. Its guards check first whether `forward` is an
    instance attribute, but not whether a module has hooks. Without this, code that was compiled earlier for a model
    without hooks would run for an attached one.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        module = self._module()
        return type(module).forward(module, *arguments, **keywords)  # type: ignore[union-attr]

    __call__ = forward

    def __reduce__(self) -> tuple[Any, ...]:
        return (OwnForward, (self._module(),))


class NotScriptable:
    """Raises an error when `torch.jit.script` calls it first on a module; counts the sites attached to the module."""

    def __init__(self) -> None:
        self.sites = 0

    def __call__(self) -> NoReturn:
        raise RuntimeError(
            "torch.jit.script cannot compile an attached model. Call site.detach() first; torch.compile and "
            "torch.export support attached models."
        )


def mark(module: nn.Module) -> int:
    """Mark a module for one more site; returns its number of sites."""
    found = vars(module).setdefault("__prepare_scriptable__", NotScriptable())
    if "forward" not in vars(module):
        own = OwnForward(module)
        module.forward = own.forward if compiler_traces_foreign_methods() else own
    if not isinstance(found, NotScriptable):
        return 1
    found.sites += 1
    return found.sites


def unmark(module: nn.Module) -> None:
    """Remove the marks with the last site. A `forward` that the user set on the module is kept."""
    found = vars(module).get("__prepare_scriptable__")
    if not isinstance(found, NotScriptable):
        return
    found.sites -= 1
    if found.sites == 0:
        del module.__prepare_scriptable__
        own = vars(module).get("forward")
        if isinstance(getattr(own, "__self__", own), OwnForward):
            del module.forward
