"""Methods as words of the command line: `none`, `moex`, `moex:norm=in,lam=0.9,at=layer1/layer2`, `cutmix+moex:p=0.25`.

The options are the mixer's own arguments; `at`, the places; `calls`, which calls are mixed of a module that runs
several times; `channel_dim` and `prefix_tokens`, how the features are laid out if the network does not tell. Lists
inside an option use `/`. A `+` puts the mixing of the images before that of the features;
`cutmix+moex:same_partner=True` mixes both with the same partner.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

import torchmoments as tm
from torchmoments_lab.config import WHERE, nearest
from torchmoments_lab.inputs import InputMixing, LabelSmoothing, partner_of_the_images

MIXERS: dict[str, type[tm.Mixer]] = {
    "labels": tm.LabelsOnly,
    "moex": tm.MoEx,
    "mixstyle": tm.MixStyle,
    "efdmix": tm.EFDMix,
    "dsu": tm.DSU,
    "crossnorm": tm.CrossNorm,
    "padain": tm.PermutedAdaIN,
    "random-moments": tm.RandomMoments,
}
INPUTS: dict[str, type[InputMixing] | type[LabelSmoothing]] = {
    "mixup": InputMixing,
    "cutmix": InputMixing,
    "smooth": LabelSmoothing,
}
WORDS = ("none", *MIXERS, *INPUTS)


@dataclass(frozen=True)
class Method:
    """What is mixed in the features and in the images, and where. Equal where the training is the same.

    Args:
        word: as typed.
        mixer: of the features; None: they stay.
        at: the places it is attached to; None for those of its source, see `models.stages`.
        channel_dim: 1 for features [B, C, *positions] there, -1 for [B, *positions, C]; None: the network tells.
        prefix_tokens: tokens before the image's, which stay as they are; None: the network tells.
        calls: which calls of a module are mixed that runs several times, see `torchmoments.attach`.
        inputs: of the images, before the network; None: they stay.
    """

    word: str = field(compare=False)
    mixer: tm.Mixer | None = None
    at: tuple[str, ...] | None = None
    channel_dim: int | None = None
    prefix_tokens: int | None = None
    calls: Literal["first", "all"] | int | None = None
    inputs: InputMixing | LabelSmoothing | None = None

    @property
    def goes_after_stem(self) -> bool:
        """Whether its places are left to the network, of which it takes the one after the stem."""
        return isinstance(self.mixer, tm.MoEx | tm.LabelsOnly | tm.RandomMoments) and self.at is None

    @property
    def changes_features(self) -> bool:
        return self.mixer is not None and self.mixer.changes_features

    @property
    def pairs_classes(self) -> bool:
        """Whether partners depend on the classes."""
        return self.mixer is not None and self.mixer.needs_groups

    def always(self) -> "Method":
        """The same with p = 1, of the images and of the features."""
        inputs = replace(self.inputs, p=1.0) if isinstance(self.inputs, InputMixing) else self.inputs
        return replace(self, mixer=self.mixer and self.mixer.with_p(1.0), inputs=inputs)


def parse_methods(words: Sequence[str]) -> list[Method]:
    """The methods that the words mean.

    Raises:
        ValueError: an unknown method or option, a value outside its range, methods that cannot be combined, or the same
            method twice.
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
    parts = word.split("+")
    names = [part.partition(":")[0] for part in parts]
    for name in names:
        if name not in WORDS:
            raise ValueError(f"methods needs known methods; got {word!r}. {nearest(name, WORDS)}")
    if len(parts) > 1:
        _check_combination(word, parts, names)
    method = Method(word)
    for part in parts:
        method = _with_part(method, part)
    return method


def _check_combination(word: str, parts: list[str], names: list[str]) -> None:
    kinds = ["input" if name in INPUTS else "features" for name in names]
    if "none" in names:
        raise ValueError(f"method 'none' cannot be combined; got {word!r}. Leave it out.")
    if kinds == ["features", "input"]:
        raise ValueError(f"images are mixed before features; got {word!r}. Write {parts[1]}+{parts[0]}.")
    if kinds != ["input", "features"]:
        raise ValueError(
            f"a method combines one of {', '.join(INPUTS)} with one of features; got {word!r}. "
            "Write cutmix+moex, for example."
        )


def _with_part(method: Method, part: str) -> Method:
    name, colon, text = part.partition(":")
    word = method.word
    if name == "none":
        if colon:
            raise ValueError(f"method 'none' needs no options; got {word!r}. Write none.")
        return method
    # The word of a MoEx with `labels` in its place is its control, so it takes options of the features too.
    kind = INPUTS[name] if name in INPUTS else tm.MoEx if name == "labels" else MIXERS[name]
    make: Any = partial(kind, name) if kind is InputMixing else kind
    known: dict[str, Any] = {option.name: option.type for option in fields(kind) if option.name != "kind"}  # type: ignore[arg-type]
    if "partner" in known:
        known["same_partner"] = bool
    if name in MIXERS:
        known |= {"at": str, "channel_dim": int | None, "prefix_tokens": int | None, "calls": str}
    if colon and not text:
        raise ValueError(f"method {word!r} needs options after the colon; got none. Write {name}, or {name}:p=0.5.")
    values = _read_options(word, text.split(",") if colon else [], known)
    where: dict[str, Any] = {option: values.pop(option, None) for option in WHERE}
    if values.pop("same_partner", False):
        _check_same_partner(method, values)
        values["partner"] = partner_of_the_images
    try:
        made = make(**values)
    except ValueError as error:
        raise ValueError(f"method {word!r}: {error}") from error
    if name in INPUTS:
        return replace(method, inputs=made)
    if name == "labels":
        made = tm.LabelsOnly(**{option.name: getattr(made, option.name) for option in fields(tm.LabelsOnly)})
    if where["calls"] is not None and where["calls"].isdecimal():
        where["calls"] = int(where["calls"])
    where["at"] = where["at"] and tuple(where["at"].split("/"))
    return replace(method, mixer=made, **where)


def _check_same_partner(method: Method, options: Mapping[str, object]) -> None:
    if not isinstance(method.inputs, InputMixing):
        raise ValueError(
            f"method {method.word!r}: same_partner needs images that are mixed with a partner before the features. "
            "Write cutmix+moex:same_partner=True, for example."
        )
    if "partner" in options:
        raise ValueError(
            f"method {method.word!r} has same_partner, the partner of the images, and partner={options['partner']}. "
            "Leave one out."
        )


def _read_options(word: str, parts: list[str], known: Mapping[str, Any]) -> dict[str, object]:
    values: dict[str, object] = {}
    for part in parts:
        option, equals, value = part.partition("=")
        if value.startswith("("):
            raise ValueError(f"method {word!r} needs / between the values of a list; got {part!r}. Write {option}=1/3.")
        if option not in known:
            raise ValueError(f"method {word!r} has an unknown option, {option!r}. {nearest(option, known)}")
        if option in values or not (equals and value):
            raise ValueError(
                f"method {word!r} needs each option once, with a value; got {part!r}. Write {option}=VALUE."
            )
        values[option] = _read(word, option, value, known[option])
    return values


def _read(word: str, option: str, text: str, kind: Any) -> object:
    kinds = typing.get_args(kind) or (kind,)
    if text == "None" and type(None) in kinds:
        return None
    if option == "norm" and all(axis.isdecimal() for axis in text.split("/")):
        return tuple(int(axis) for axis in text.split("/"))
    if bool in kinds:
        if text not in ("True", "False"):
            raise ValueError(f"method {word!r}: {option} needs True or False; got {text!r}.")
        return text == "True"
    number = next((number for number in (int, float) if number in kinds), None)
    if number is None:
        return text
    try:
        return number(text)
    except ValueError:
        raise ValueError(
            f"method {word!r}: {option} needs a number; got {text!r}. Write {option}=0.5, for example."
        ) from None
