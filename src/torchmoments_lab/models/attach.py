"""A method at its places of a network."""

from collections.abc import Sequence

from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.methods import Method
from torchmoments_lab.models.place import default_place
from torchmoments_lab.models.reach import LEAST, changes_after
from torchmoments_lab.models.stages import usual_places


def attach(model: nn.Module, method: Method, example: Tensor, seed: int, default: str | None = None) -> tm.Site | None:
    """Attach the method at the places of its spec, or else those of its source; None if it mixes nothing.

    Args:
        example: images as the model gets them.
        default: the place after the stem; found if None.

    Raises:
        ValueError: no place is named, and none is found; or a name is wrong.
    """
    if method.mixer is None:
        return None
    calls = method.calls
    if not method.changes_features:
        # Labels are mixed wherever the site is, so in a network whose stem is not found too.
        at = list(method.at or [place.name for place in tm.places(model, example) if place.shape][:1])
        calls = "all"
    elif method.at is not None:
        at = list(method.at)
    elif places := usual_places(method.mixer, model):
        at = list(places)
    else:
        at = [default or default_place(model, example)]
        # A ReLU that is used again in the stages ends the stem with its first call.
        calls = calls or "first"
    return tm.attach(
        model,
        method.mixer,
        at=at,
        channel_dim=method.channel_dim,
        prefix_tokens=method.prefix_tokens,
        calls=calls,
        seed=seed,
        automatic=False,
    )


def check_effect(model: nn.Module, method: Method, site: tm.Site, draws: Sequence[tm.Draw], x: Tensor) -> None:
    """Raise ValueError if one of the places that a method's spec names is one where mixing does nothing.

    Args:
        draws: of the batch x; one alone may mix hardly anything.
    """
    for place in site.places if method.at is not None and method.changes_features else ():
        if not any(_has_effect(model, method, place, draw, x) for draw in draws):
            raise ValueError(
                f"mixing needs features whose moments differ between images; here it changes nothing after {place!r}, "
                "as where a normalization over the same axes comes right before or after it. Write a later place, such "
                "as the first block (`torchmoments places` lists the names), or another norm."
            )


def _has_effect(model: nn.Module, method: Method, place: str, draw: tm.Draw, x: Tensor) -> bool:
    """True if it cannot be told."""
    mixer = method.mixer
    assert mixer is not None
    where = {"channel_dim": method.channel_dim, "prefix_tokens": method.prefix_tokens}
    changes = changes_after(model, place, x, lambda view, mask: mixer(view, draw.to(view.device), mask), **where)
    return changes is None or max(changes) > LEAST
