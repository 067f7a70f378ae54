"""What a method spec means: the mixer of the features and the mixing of the images. See `spec` for the grammar.

The options are the mixer's own arguments; `at`, the places; `calls`, which calls are mixed of a module that runs
several times; `channel_dim` and `prefix_tokens`, how the features are laid out if the network does not tell.
`cutmix+moex:same_partner=True` mixes images and features with the same partner.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

import torchmoments as tm
from torchmoments_lab.inputs import InputMixing, LabelSmoothing, partner_of_the_images
from torchmoments_lab.spec import OF_IMAGES, PLACE_OPTIONS, Part, parse
from torchmoments_lab.typed import nearest

_MIXERS: dict[str, type[tm.Mixer]] = {
    "moex": tm.MoEx,
    # A MoEx with `labels` in its place is its control, so it takes options of the features too.
    "labels": tm.MoEx,
    "mixstyle": tm.MixStyle,
    "efdmix": tm.EFDMix,
    "dsu": tm.DSU,
    "crossnorm": tm.CrossNorm,
    "padain": tm.PermutedAdaIN,
    "random-moments": tm.RandomMoments,
}

# Those whose source has places of their own, see `models.stages`.
_WITH_PLACES = (tm.MixStyle, tm.EFDMix, tm.DSU, tm.CrossNorm, tm.PermutedAdaIN)


@dataclass(frozen=True)
class Method:
    """What is mixed in the features and in the images, and at which place. Equal if the training is the same.

    Args:
        spec: as typed.
        mixer: of the features; None: they stay.
        at: the places it is attached to; None for those of its source, see `models.stages`.
        channel_dim: 1 for features [B, C, *positions] there, -1 for [B, *positions, C]; None: the network tells.
        prefix_tokens: tokens before the image's, which stay as they are; None: the network tells.
        calls: which calls of a module are mixed that runs several times, see `torchmoments.attach`.
        inputs: of the images, before the network; None: they stay.
    """

    spec: str = field(compare=False)
    mixer: tm.Mixer | None = None
    at: tuple[str, ...] | None = None
    channel_dim: int | None = None
    prefix_tokens: int | None = None
    calls: Literal["first", "all"] | int | None = None
    inputs: InputMixing | LabelSmoothing | None = None

    @property
    def goes_after_stem(self) -> bool:
        """Whether the spec leaves the place to the network, which takes the one after the stem."""
        return self.mixer is not None and self.at is None and not isinstance(self.mixer, _WITH_PLACES)

    @property
    def changes_features(self) -> bool:
        return self.mixer is not None and self.mixer.changes_features

    @property
    def needs_groups(self) -> bool:
        """Whether partners depend on the domains, or on the classes if there are no domains."""
        return self.mixer is not None and self.mixer.needs_groups

    def always(self) -> "Method":
        """The same with p = 1, of the images and of the features, and with partners from this process alone."""
        inputs = replace(self.inputs, p=1.0) if isinstance(self.inputs, InputMixing) else self.inputs
        mixer = self.mixer.with_p(1.0) if self.mixer is not None else None
        if mixer is not None and mixer.partner == "global":
            mixer = mixer.in_one_process()
        return replace(self, mixer=mixer, inputs=inputs)


def parse_methods(specs: Sequence[str]) -> list[Method]:
    """The methods that the specs mean.

    Raises:
        ValueError: an unknown method or option, a value outside its range, methods that cannot be combined, or the same
            method twice.
    """
    methods = [parse_method(spec) for spec in specs]
    check_different(methods)
    return methods


def check_different(methods: Sequence[Method]) -> None:
    """Raise ValueError if two methods are the same training."""
    for index, method in enumerate(methods):
        for other in methods[:index]:
            if method == other:
                raise ValueError(
                    f"methods needs different methods; got {other.spec!r} and {method.spec!r}, which are the same. "
                    "Leave one out."
                )


def parse_method(spec: str) -> Method:
    """The method that one spec means; raises ValueError as `parse_methods` does."""
    method = Method(spec)
    for part in parse(spec):
        if part.name in OF_IMAGES:
            kind: Any = LabelSmoothing if part.name == "smooth" else InputMixing
            values = _read_options(spec, part, _types(kind))
            make = partial(kind, part.name) if kind is InputMixing else kind
            method = replace(method, inputs=_made(spec, make, values))
        elif part.name != "none":
            method = _with_mixer(method, part)
    return method


def _with_mixer(method: Method, part: Part) -> Method:
    kind: Any = _MIXERS[part.name]
    known = _types(kind) | {"at": tuple, "channel_dim": int | None, "prefix_tokens": int | None, "calls": str}
    if "partner" in known:
        known["same_partner"] = bool
    values = _read_options(method.spec, part, known)
    place = {option: values.pop(option) for option in PLACE_OPTIONS if option in values}
    if str(place.get("calls")).isdecimal():
        place["calls"] = int(place["calls"])
    if values.pop("same_partner", False):
        _check_same_partner(method, values)
        values["partner"] = partner_of_the_images
    mixer = _made(method.spec, kind, values)
    if values.get("partner") == "global" and isinstance(method.inputs, InputMixing):
        raise ValueError(
            f"method {method.spec!r}: the labels of mixed images cannot be mixed with those of other devices. Leave "
            "partner=global out."
        )
    if part.name == "labels":
        mixer = tm.LabelsOnly(**{option.name: getattr(mixer, option.name) for option in fields(tm.LabelsOnly)})
    return replace(method, mixer=mixer, **place)


def parse_norm(text: str) -> str | tuple[int, ...]:
    """A norm as typed: its name, or axes as in 1+3."""
    axes = text.split("+")
    return tuple(map(int, axes)) if all(axis.isdecimal() for axis in axes) else text


def _made(spec: str, make: Any, values: Mapping[str, Any]) -> Any:
    try:
        return make(**values)
    except ValueError as error:
        raise ValueError(f"method {spec!r}: {error}") from error


def _types(kind: Any) -> dict[str, Any]:
    return {option.name: option.type for option in fields(kind) if option.name != "kind"}


def _check_same_partner(method: Method, options: Mapping[str, Any]) -> None:
    if not isinstance(method.inputs, InputMixing):
        raise ValueError(
            f"method {method.spec!r}: same_partner needs images that are mixed with a partner before the features. "
            "Write cutmix+moex:same_partner=True, for example."
        )
    if "partner" in options:
        raise ValueError(
            f"method {method.spec!r} has same_partner, the partner of the images, and partner={options['partner']}. "
            "Leave one out."
        )


def _read_options(spec: str, part: Part, known: Mapping[str, Any]) -> dict[str, Any]:
    for option in part.options:
        if option not in known:
            raise ValueError(f"method {spec!r} has an unknown option, {option!r}. {nearest(option, known)}")
    return {option: _read(spec, option, text, known[option]) for option, text in part.options.items()}


def _read(spec: str, option: str, text: str, kind: Any) -> Any:
    kinds = typing.get_args(kind) or (kind,)
    if text == "None" and type(None) in kinds:
        return None
    if option == "norm":
        return parse_norm(text)
    if tuple in kinds:
        return tuple(text.split("+"))
    if bool in kinds:
        if text not in ("True", "False"):
            raise ValueError(f"method {spec!r}: {option} needs True or False; got {text!r}.")
        return text == "True"
    number = next((number for number in (int, float) if number in kinds), None)
    if number is None:
        return text
    try:
        return number(text)
    except ValueError:
        raise ValueError(
            f"method {spec!r}: {option} needs a number; got {text!r}. Write {option}={1 if number is int else 0.5}, "
            "for example."
        ) from None
