"""A method at its places of a network."""

from torch import Tensor, nn

import torchmoments as tm
from torchmoments.lab.methods import Method
from torchmoments.lab.models.place import default_place
from torchmoments.lab.models.stages import usual_places


def attach(model: nn.Module, method: Method, example: Tensor, seed: int) -> tm.Site | None:
    """Attach the method at the places of its word, or else those of its source; None if it mixes nothing.

    Args:
        example: images as the model gets them.

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
        at = [default_place(model, example)]
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
