"""How images are prepared for a network, as data, network and request decide it."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torchmoments_lab.data.split import Data
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.typed import Settings

# Light, see docs/fine-tuning.md: ImageNet's 0.08 shows a twelfth of a picture, where a defect may not be.
_CROP_SCALE = 0.35
# For pictures, which come in all sizes, and a network that takes any.
_USUAL_SIZE = 64


@dataclass(frozen=True)
class Preparation(Settings):
    """How an image becomes the input of a network, without augmentation. A file of weights keeps it.

    Args:
        kind: pictures: of any size, mode and depth, resized and cut to a square. pixels: tensors of one shape, from 0
            to `peak`. normalized: tensors that are taken as they are.
        shape: of such a tensor; None for pictures.
        size: side of the square that the network gets; None: tensors keep their size.
        channels: that the network gets, grey images repeated; None: those of the tensors.
        bicubic: how images are resized; bilinear if False. Both antialiased.
        test_crop: part of the side of a resized picture that is kept, its middle.
        mean, std: the input is (pixel / peak - mean) / std; one number a channel, or one for all.
        levels: the values that become black and white in pictures of more than 8 bits.
    """

    kind: Literal["pictures", "pixels", "normalized"]
    shape: tuple[int, ...] | None
    size: int | None
    channels: int | None
    bicubic: bool
    test_crop: float
    peak: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    levels: tuple[float, float] | None

    @classmethod
    def of(cls, data: Data, wanted: Input, preprocessing: Preprocessing) -> Self:
        """What a network gets of some data.

        Args:
            wanted: the images that the network takes.
            preprocessing: as `filled` returns it.
        """
        pictures, shape = data.are_pictures, data.shape
        of_tensors = shape[0] if shape is not None and len(shape) == 3 else None
        return cls(
            kind="pictures" if pictures else "normalized" if data.is_normalized else "pixels",
            shape=shape,
            size=wanted.size or _USUAL_SIZE if pictures else wanted.size if wanted.fixed_size else None,
            channels=3 if pictures else wanted.channels or of_tensors,
            bicubic=wanted.bicubic,
            test_crop=preprocessing.test_crop,
            peak=data.peak,
            mean=preprocessing.mean,
            std=preprocessing.std,
            levels=data.levels,
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an image as the network gets it."""
        if self.shape is not None and len(self.shape) != 3:
            return self.shape
        sides = self.shape[1:] if self.shape is not None and self.size is None else (self.size,) * 2
        return tuple(length for length in (self.channels, *sides) if length is not None)


def filled(given: Preprocessing, data: Data, wanted: Input) -> Preprocessing:
    """The same with a value for each None that has a meaning for these images.

    Args:
        wanted: the images that the network takes.

    Raises:
        ValueError: what only pictures have, for images in memory; or mean and std that do not fit the images.
    """
    if not data.are_pictures:
        for name, is_given in (
            ("test_crop", given.test_crop != 1),
            ("crop_scale", given.crop_scale is not None),
            ("rotation", given.rotation != 0),
        ):
            if is_given:
                raise ValueError(f"{name} is for pictures; the images of the data are tensors. Leave it out.")
    if data.is_normalized:
        if given.mean:
            raise ValueError("mean and std are for pictures; the images of the data are normalized. Leave them out.")
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
    else:
        mean, std = given.mean or wanted.mean or data.mean, given.std or wanted.std or data.std
        channels = wanted.channels or (3 if data.shape is None else data.shape[0])
        wrong = next((numbers for numbers in (mean, std) if len(numbers) not in (1, channels)), None)
        if wrong is not None:
            raise ValueError(
                f"mean and std need one number, or one for each of {channels} channels; got {len(wrong)}. "
                "Write --mean 0.5 --std 0.25, for example."
            )
    filled = replace(given, mean=mean, std=std)
    if not given.augment:
        return filled
    flips = given.flips or ("horizontal" if data.flips else "none")
    crop_scale = (given.crop_scale or _CROP_SCALE) if data.are_pictures else None
    return replace(filled, flips=flips, crop_scale=crop_scale)
