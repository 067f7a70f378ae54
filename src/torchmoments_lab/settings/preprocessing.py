"""How images are prepared for the network."""

from dataclasses import dataclass
from typing import Literal

from torchmoments_lab.typed import Settings, at_least

_LEAST_STD = 0.001
Flips = Literal["none", "horizontal", "vertical", "both"]


@dataclass(frozen=True)
class Preprocessing(Settings):
    """How the images reach the network. The report shows them."""

    augment: bool = False
    """Light augmentation of training images, none of them twice the same: crops, flips, and what is set below."""
    crop_scale: float | None = None
    """With --augment: the smallest part of a picture's area that is cut out and resized, with sides of 3:4 to 4:3.
    None: 0.35. Images in memory are shifted by up to 4 pixels instead."""
    flips: Flips | None = None
    """With --augment: how images are mirrored. None: left to right, if a mirrored image is still of its class."""
    rotation: float = 0.0
    """With --augment: degrees by which a picture is turned at most, either way; the corners get the mean colour."""
    test_crop: float = 1.0
    """Part of the side of a resized test picture that is kept, its middle: 0.875 cuts 224 pixels out of 256, a quarter
    of the picture is lost. 1: the whole height of a wide picture, the whole width of a high one."""
    mean: tuple[float, ...] = ()
    """Of a pixel from 0 to 1, one number a channel or one for all. Without: what the network was pretrained with,
    otherwise that of the data set; ImageNet's for pictures."""
    std: tuple[float, ...] = ()
    """Likewise: images are (pixel - mean) / std."""
    loader_workers: int = 0
    """Processes of each run that read images ahead; for folders and other data that is not held in memory."""

    def check(self) -> None:
        at_least(0, "loader_workers", self.loader_workers, "processes")
        for name, value in (("test_crop", self.test_crop), ("crop_scale", self.crop_scale)):
            if value is not None and not 0 < value <= 1:
                flag = name.replace("_", "-")
                raise ValueError(
                    f"{name} needs a part, above 0 and up to 1; got {value}. Write --{flag} 0.875, for example."
                )
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation needs 0 to 180 degrees; got {self.rotation}. Write --rotation 10, for example.")
        set_ = [("crop_scale", self.crop_scale), ("flips", self.flips), ("rotation", self.rotation or None)]
        given = [name for name, value in set_ if value is not None]
        if given and not self.augment:
            raise ValueError(f"{given[0]} is a part of the augmentation, which is off. Write --augment too.")
        if bool(self.mean) != bool(self.std):
            raise ValueError("mean and std belong together; got one of them. Write both, or leave both out.")
        if not all(0 <= value <= 1 for value in self.mean) or not all(_LEAST_STD <= value <= 1 for value in self.std):
            raise ValueError(
                f"mean and std need numbers from 0 to 1, as pixels are, those of std from {_LEAST_STD}; got "
                f"{self.mean} and {self.std}. If they are of pixels up to 255, divide by 255: --mean 0.485 --std 0.229."
            )
