"""The public names, collected. Import them from `torchmoments`."""

from torchmoments.attaching import attach
from torchmoments.draw import Draw, Plan
from torchmoments.layers import PONO, AdaIN, MomentShortcut
from torchmoments.mixers.crossnorm import CrossNorm
from torchmoments.mixers.dsu import DSU
from torchmoments.mixers.efdmix import EFDMix
from torchmoments.mixers.mixer import Mixer
from torchmoments.mixers.mixstyle import MixStyle
from torchmoments.mixers.moex import LabelsOnly, MoEx
from torchmoments.mixers.padain import PermutedAdaIN
from torchmoments.mixers.randommoments import RandomMoments
from torchmoments.modules import Place, places
from torchmoments.ops import denormalize, exchange, moments, normalize
from torchmoments.ops.reference import Moments
from torchmoments.schedules import OffAtEnd, WarmUp
from torchmoments.site import Site
from torchmoments.targets import mixed_accuracy, mixed_loss, mixed_targets

__all__ = [
    "DSU",
    "PONO",
    "AdaIN",
    "CrossNorm",
    "Draw",
    "EFDMix",
    "LabelsOnly",
    "MixStyle",
    "Mixer",
    "MoEx",
    "MomentShortcut",
    "Moments",
    "OffAtEnd",
    "PermutedAdaIN",
    "Place",
    "Plan",
    "RandomMoments",
    "Site",
    "WarmUp",
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
