"""What an attached module carries in its own attributes, besides its hooks: a word to compilers."""

import weakref
from typing import Any, NoReturn

from torch import nn

from torchmoments.torch_internals import methods_of_any_object_are_traced


class OwnForward:
    """A `forward` in the module's own attributes that does what its class's does, and does not keep the module alive.

    torch.compile shares what it compiled between models of one class. Whether a module has hooks is not among the
    questions it asks first; whether `forward` is the module's own is. Without this, the code of a plain model that was
    compiled earlier would run in place of an attached one.
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
    """What `torch.jit.script` calls first at each module; counts the sites that are attached there."""

    def __init__(self) -> None:
        self.sites = 0

    def __call__(self) -> NoReturn:
        raise RuntimeError(
            "torch.jit.script cannot compile what is attached to a model. Call site.detach() first; torch.compile and "
            "torch.export take attached models."
        )


def mark(module: nn.Module) -> int:
    """Mark a module for one more site; returns how many sites it has now."""
    found = vars(module).setdefault("__prepare_scriptable__", NotScriptable())
    if "forward" not in vars(module):
        own = OwnForward(module)
        module.forward = own.forward if methods_of_any_object_are_traced() else own
    if not isinstance(found, NotScriptable):
        return 1
    found.sites += 1
    return found.sites


def unmark(module: nn.Module) -> None:
    """Take the marks off when the last site is gone. A forward that the user gave the module stays."""
    found = vars(module).get("__prepare_scriptable__")
    if not isinstance(found, NotScriptable):
        return
    found.sites -= 1
    if found.sites == 0:
        del module.__prepare_scriptable__
        own = vars(module).get("forward")
        if isinstance(getattr(own, "__self__", own), OwnForward):
            del module.forward
