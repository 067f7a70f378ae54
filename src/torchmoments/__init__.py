"""Swap feature statistics between training samples: Moment Exchange (MoEx) and its relatives."""

from torchmoments.attaching import attach
from torchmoments.draw import Draw, Plan
from torchmoments.effect import NoEffectWarning
from torchmoments.features import Layout, layout_of
from torchmoments.layers import PONO, AdaIN, MomentShortcut
from torchmoments.mixers.crossnorm import CrossNorm
from torchmoments.mixers.dsu import DSU
from torchmoments.mixers.efdmix import EFDMix
from torchmoments.mixers.mixer import Mixer
from torchmoments.mixers.mixstyle import MixStyle
from torchmoments.mixers.moex import LabelsOnly, MoEx
from torchmoments.mixers.padain import PermutedAdaIN
from torchmoments.mixers.randommoments import RandomMoments
from torchmoments.modules import Place, find_modules, places
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
    "Layout",
    "MixStyle",
    "Mixer",
    "MoEx",
    "MomentShortcut",
    "Moments",
    "NoEffectWarning",
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
    "find_modules",
    "layout_of",
    "mixed_accuracy",
    "mixed_loss",
    "mixed_targets",
    "moments",
    "normalize",
    "places",
]
