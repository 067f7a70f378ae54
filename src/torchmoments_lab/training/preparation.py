"""What a request leaves open of the preprocessing, decided by the data and by the network."""

from dataclasses import replace

from torchmoments_lab.data.split import Data
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import Preprocessing

# Light, see docs/fine-tuning.md: ImageNet's 0.08 shows a twelfth of a picture, where a defect may not be.
_CROP_SCALE = 0.35


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
