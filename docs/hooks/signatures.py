"""Tells griffe, which reads the sources without running them, that every subclass of `Mixer` becomes a dataclass."""

from copy import copy
from pathlib import Path
from typing import Any

import griffe

# What a method has without declaring it, see `Mixer`.
_SHARED = griffe.visit(
    "shared",
    filepath=Path("shared.py"),
    code="""
p: float = dataclasses.field(default=0.5, kw_only=True)
partner: Partner = dataclasses.field(default="random", kw_only=True)
lam: float = dataclasses.field(default=1.0, kw_only=True)
label_from: LabelFrom = dataclasses.field(default="donor", kw_only=True)
per_sample: bool = dataclasses.field(default=False, kw_only=True)
""",
)


class Mixers(griffe.Extension):
    """Mixers get the signature that `Mixer.__init_subclass__` gives them."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        if any(str(base).endswith("Mixer") for base in cls.bases):
            for name, option in _SHARED.members.items():
                if name not in cls.members:
                    cls.set_member(name, copy(option))
            decorator = griffe.ExprName("dataclasses.dataclass")
            cls.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))
