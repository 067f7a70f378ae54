"""Making the class of a mixer a frozen dataclass automatically, without a decorator."""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Option(NamedTuple):
    """The type and default of a field that a class does not annotate."""

    kind: Any
    default: Any
    kw_only: bool = True


def make_dataclass(cls: type, shared: Mapping[str, Option]) -> None:
    """Make `cls` a frozen dataclass, in place.

    Its fields are the ones it annotates, those of its bases, and the `shared` ones. The default of a field that it does
    not annotate is the class attribute of this name, its own or inherited: `p = 1.0` is enough.
    """
    _undo_decorators(cls.__bases__)
    annotations = _annotations(cls)
    for name, option in {**shared, **_changed(cls)}.items():
        if name not in annotations:
            annotations[name] = option.kind
            value = getattr(cls, name, option.default)
            if not isinstance(value, dataclasses.Field):
                value = dataclasses.field(default=value, kw_only=option.kw_only)
            setattr(cls, name, value)
    cls.__annotations__ = annotations
    dataclasses.dataclass(frozen=True, repr=False)(cls)
    _allow_decorators(cls)


def run_after_init(cls: type, check: Callable[[Any], None]) -> None:
    """Call `check` on each new instance of `cls`, after its `__init__` and `__post_init__`."""
    made = vars(cls)["__init__"]

    @functools.wraps(made)
    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        made(self, *arguments, **keywords)
        check(self)

    cls.__init__ = init  # type: ignore[misc]


def _changed(cls: type) -> dict[str, Option]:
    """Return the inherited fields whose default the class overrides with an attribute."""
    inherited = {
        field.name: field
        for base in reversed(cls.__bases__)
        if dataclasses.is_dataclass(base)
        for field in dataclasses.fields(base)
    }
    return {
        name: Option(field.type, field.default, field.kw_only is True)
        for name, field in inherited.items()
        if getattr(cls, name, field.default) is not field.default
    }


def _annotations(cls: type) -> dict[str, Any]:
    """Return the class's own annotations. In Python 3.14, ones that cannot be evaluated yet are kept as written."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _allow_decorators(cls: Any) -> None:
    """Allow `@dataclass(frozen=True)` on the class too; it changes nothing."""
    # The decorator refuses to replace these two, and adds a __repr__ to a class without one. Mixer has all three.
    del cls.__setattr__, cls.__delattr__
    cls.__repr__ = cls.__repr__
    cls._as_made = {name: vars(cls)[name] for name in ("__dataclass_fields__", "__dataclass_params__")}


def _undo_decorators(bases: tuple[type, ...]) -> None:
    """Restore what a decorator changed: it reads the fields again, after the class has lost which are keyword-only."""
    for base in bases:
        for name, value in vars(base).get("_as_made", {}).items():
            setattr(base, name, value)
