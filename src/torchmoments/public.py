"""The public names, collected. Import them from `torchmoments`."""

from torchmoments.draw import Draw, Plan
from torchmoments.mixers.moex import MoEx
from torchmoments.modules import Place, places
from torchmoments.ops import denormalize, exchange, moments, normalize
from torchmoments.ops.reference import Moments
from torchmoments.site import Site, attach
from torchmoments.targets import mixed_accuracy, mixed_loss, mixed_targets

__all__ = [
    "Draw",
    "MoEx",
    "Moments",
    "Place",
    "Plan",
    "Site",
    "attach",
    "denormalize",
    "exchange",
    "mixed_accuracy",
    "mixed_loss",
    "mixed_targets",
    "moments",
    "normalize",
    "places",
]
