"""A method at its places of a network."""

from torch import Tensor, nn

import torchmoments as tm
from torchmoments.lab.methods import Method
from torchmoments.lab.models.place import channel_dim_of, default_place
from torchmoments.lab.models.stages import usual_places
from torchmoments.modules import find_modules


def attach(model: nn.Module, method: Method, example: Tensor, seed: int) -> tm.Site | None:
    """Attach the method at the places of its word, or else those of its source; None where it mixes no features.

    Args:
        example: images as the model gets them.

    Raises:
        ValueError: no place is named, and none is found; or a name is wrong.
    """
    if method.mixer is None:
        return None
    if method.changes_features:
        at = list(method.at or usual_places(method.mixer, model) or (default_place(model, example),))
        channel_dim = method.channel_dim
        if channel_dim is None:
            channel_dim = channel_dim_of(model, example, list(find_modules(model, at)))
    else:
        # Labels are mixed wherever the site is: in a network whose stem is not found too, and whatever the layout.
        at = list(method.at or [place.name for place in tm.places(model, example) if place.shape][:1])
        channel_dim = 1
    return tm.attach(model, method.mixer, at=at, channel_dim=channel_dim, seed=seed)
