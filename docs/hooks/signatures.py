"""Tells griffe, which reads the sources without running them, that every subclass of `Mixer` becomes a dataclass."""

from typing import Any

import griffe


class Mixers(griffe.Extension):
    """Mixers get the signature that `Mixer.__init_subclass__` gives them."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        if any(str(base) == "Mixer" for base in cls.bases):
            decorator = griffe.ExprName("dataclasses.dataclass")
            cls.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))
