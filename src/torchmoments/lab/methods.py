"""Methods as words of the command line: `none`, `labels`, `moex`, `moex:norm=in,lam=0.9,p=0.5,at=layer1/layer2`.

The options are the mixer's own arguments, and `at`, the places. Lists inside an option use `/`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from torch import Tensor

import torchmoments as tm
from torchmoments.lab.config import nearest


class LabelsOnly(tm.MoEx):
    """The control: MoEx's coins, partners and label weights, with the features untouched."""

    def __call__(self, x: Tensor, draw: tm.Draw | None) -> Tensor:
        return x


@dataclass(frozen=True)
class Method:
    """A mixer, None for plain training, and the places it is attached to, None for the model's default place.

    Equal where the training is the same.
    """

    word: str = field(compare=False)
    mixer: tm.MoEx | None = None
    at: tuple[str, ...] | None = None


def parse_methods(words: Sequence[str]) -> list[Method]:
    """The methods that the words mean.

    Raises:
        ValueError: an unknown method or option, a value outside its range, or the same method twice.
    """
    methods = [parse_method(word) for word in words]
    check_different(methods)
    return methods


def check_different(methods: Sequence[Method]) -> None:
    """Raise ValueError where two methods are the same training."""
    for index, method in enumerate(methods):
        for other in methods[:index]:
            if method == other:
                raise ValueError(
                    f"methods needs different methods; got {other.word!r} and {method.word!r}, which are the same. "
                    "Leave one out."
                )


def parse_method(word: str) -> Method:
    """The method that one word means; raises ValueError as `parse_methods` does."""
    mixers: dict[str, type[tm.MoEx] | None] = {"none": None, "labels": LabelsOnly, "moex": tm.MoEx}
    name, colon, text = word.partition(":")
    if name not in mixers:
        raise ValueError(f"methods needs known methods; got {word!r}. {nearest(name, mixers)}")
    mixer = mixers[name]
    if mixer is None:
        if colon:
            raise ValueError(f"method 'none' needs no options; got {word!r}. Write none.")
        return Method(word)
    defaults = {option.name: option.default for option in fields(mixer)} | {"at": ""}
    values: dict[str, object] = {}
    for part in text.split(",") if colon else []:
        option, equals, value = part.partition("=")
        if option not in defaults:
            raise ValueError(f"method {word!r} has an unknown option, {option!r}. {nearest(option, defaults)}")
        if option in values or not (equals and value):
            raise ValueError(
                f"method {word!r} needs each option once, with a value; got {part!r}. Write {option}=VALUE."
            )
        values[option] = _read(word, option, value, type(defaults[option]))
    at = values.pop("at", None)
    try:
        return Method(word, mixer(**values), None if at is None else tuple(str(at).split("/")))  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"method {word!r}: {error}") from error


def _read(word: str, option: str, text: str, kind: type) -> object:
    if option == "norm" and all(axis.isdecimal() for axis in text.split("/")):
        return tuple(int(axis) for axis in text.split("/"))
    if kind is bool:
        if text not in ("True", "False"):
            raise ValueError(f"method {word!r}: {option} needs True or False; got {text!r}.")
        return text == "True"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f"method {word!r}: {option} needs a number; got {text!r}. Write {option}=0.5, for example."
        ) from None
