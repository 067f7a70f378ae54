"""The grammar of method specs: `none`, `moex:norm=in,lam=0.9,at=layer1+layer2`, `cutmix+moex:p=0.25`.

A spec is NAME or NAME:OPTION=VALUE,OPTION=VALUE; inside a value a `+` joins the members of a list. A `+` before the
name of a method puts the mixing of the images before that of the features. Needs no PyTorch.
"""

from typing import NamedTuple

from torchmoments_lab.typed import nearest

OF_IMAGES = ("mixup", "cutmix", "smooth")
OF_FEATURES = ("labels", "moex", "mixstyle", "efdmix", "dsu", "crossnorm", "padain", "random-moments")
NAMES = ("none", *OF_FEATURES, *OF_IMAGES)

# Options of the place: which, and how the features are laid out there.
PLACE_OPTIONS = ("at", "channel_dim", "prefix_tokens", "calls")
# Options of MoEx that leave its labels as they are.
FEATURE_OPTIONS = ("norm", "eps", "grad", "positive_only", "alpha", "moment", "backend", *PLACE_OPTIONS)


class Part(NamedTuple):
    """One method of a spec, and its options as typed."""

    name: str
    options: dict[str, str]


def parse(spec: str) -> list[Part]:
    """The methods of a spec: one, or one of the images and one of the features.

    Raises:
        ValueError: an unknown method, an option without a value or twice, or methods that cannot be combined.
    """
    texts: list[str] = []
    for segment in spec.split("+"):
        if not texts or segment.partition(":")[0] in NAMES:
            texts.append(segment)
        else:
            texts[-1] += f"+{segment}"
    parts = [_part(spec, text) for text in texts]
    if len(parts) > 1:
        _check_combination(spec, texts, [part.name for part in parts])
    return parts


def labels_alone(spec: str) -> str | None:
    """The control of a MoEx: the same mixing of images and labels, features left alone. None for other methods."""
    *of_images, last = parse(spec)
    if last.name != "moex":
        return None
    return "+".join(map(_typed, [*of_images, labels_of(last)]))


def labels_of(part: Part) -> Part:
    """What a part of a spec does to the labels."""
    return Part("labels", {option: v for option, v in part.options.items() if option not in FEATURE_OPTIONS})


def _typed(part: Part) -> str:
    listed = ",".join(f"{option}={value}" for option, value in part.options.items())
    return f"{part.name}:{listed}" if listed else part.name


def _part(spec: str, text: str) -> Part:
    name, colon, listed = text.partition(":")
    if name not in NAMES:
        raise ValueError(f"methods needs known methods; got {spec!r}. {nearest(name.rpartition('+')[2], NAMES)}")
    if name == "none" and colon:
        raise ValueError(f"method 'none' needs no options; got {spec!r}. Write none.")
    if colon and not listed:
        raise ValueError(f"method {spec!r} needs options after the colon; got none. Write {name}, or {name}:p=0.5.")
    options: dict[str, str] = {}
    for option_text in listed.split(",") if colon else []:
        option, equals, value = option_text.partition("=")
        if value.startswith("(") or (option in ("at", "norm") and "/" in value):
            raise ValueError(
                f"method {spec!r} needs + between the values of a list; got {option_text!r}. Write {option}="
                f"{'1+3' if value.startswith('(') else value.replace('/', '+')}."
            )
        if option in options or not (equals and value):
            raise ValueError(
                f"method {spec!r} needs each option once, with a value; got {option_text!r}. Write {option}=VALUE."
            )
        options[option] = value
    return Part(name, options)


def _check_combination(spec: str, texts: list[str], names: list[str]) -> None:
    kinds = ["images" if name in OF_IMAGES else "features" for name in names]
    if "none" in names:
        raise ValueError(f"method 'none' cannot be combined; got {spec!r}. Leave it out.")
    if kinds == ["features", "images"]:
        raise ValueError(f"images are mixed before features; got {spec!r}. Write {texts[1]}+{texts[0]}.")
    if kinds != ["images", "features"]:
        raise ValueError(
            f"a method combines one of {', '.join(OF_IMAGES)} with one of features; got {spec!r}. "
            "Write cutmix+moex, for example."
        )
