"""What the preprocessing becomes for pictures and for images in memory, and what each cannot have."""

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.models.built import Input
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.training.augmentation import draw_boxes, of_picture
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.preparation import filled


class Pictures:
    """8 pictures [24, 36], black on the left, white on the right, with a red bar at the top."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        values = np.zeros((24, 36, 3), np.uint8)
        values[:, 18:] = 255
        values[:4] = (255, 0, 0)
        return Image.fromarray(values), index % 2


PICTURES = from_objects(Pictures(), Pictures())
SPLIT = Split(torch.arange(8 * 64, dtype=torch.uint8).view(8, 1, 8, 8), torch.arange(8) % 2)
IN_MEMORY = Data(SPLIT, SPLIT, ("a", "b"), peak=255.0, mean=(0.3,), std=(0.2,))
OF_NETWORK = Input(channels=3, size=24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


def test_what_is_left_open_comes_from_the_network_or_else_from_the_data():
    assert filled(Preprocessing(), PICTURES, OF_NETWORK).mean == (0.1, 0.2, 0.3)
    assert filled(Preprocessing(), PICTURES, Input()).std == (0.229, 0.224, 0.225)
    assert filled(Preprocessing(), IN_MEMORY, Input()).mean == (0.3,)
    given = filled(Preprocessing(mean=(0.5,), std=(0.25,)), PICTURES, OF_NETWORK)
    assert (given.mean, given.std) == ((0.5,), (0.25,))
    assert filled(given, PICTURES, OF_NETWORK) == given


def test_augmentation_is_filled_in_only_where_it_is_on_and_has_a_meaning():
    off = filled(Preprocessing(), PICTURES, Input())
    assert (off.crop_scale, off.flips) == (None, None)
    on = filled(Preprocessing(augment=True), PICTURES, Input())
    assert (on.crop_scale, on.flips) == (0.35, "horizontal")
    assert filled(Preprocessing(augment=True), IN_MEMORY, Input()).crop_scale is None


@pytest.mark.parametrize(
    ("given", "data", "sentence"),
    [
        ({"test_crop": 0.5}, IN_MEMORY, "test_crop is for pictures; the images of the data are tensors. Leave it out."),
        ({"augment": True, "crop_scale": 0.5}, IN_MEMORY, "crop_scale is for pictures; the images of the data are"),
        ({"augment": True, "rotation": 5}, IN_MEMORY, "rotation is for pictures; the images of the data are tensors"),
        ({"mean": (0.5, 0.5), "std": (1, 1)}, PICTURES, "one for each of 3 channels; got 2. Write --mean 0.5 --std"),
        ({"mean": (0.5,) * 3, "std": (1,) * 3}, IN_MEMORY, "one for each of 1 channels; got 3"),
    ],
)
def test_what_these_images_cannot_have_is_refused(given, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        filled(Preprocessing(**given), data, Input())


def test_mean_and_std_of_normalized_images_are_refused():
    items = [(torch.randn(3, 8, 8), index % 2) for index in range(8)]
    with pytest.raises(ValueError, match="mean and std are for pictures; the images of the data are normalized"):
        filled(Preprocessing(mean=(0.5,), std=(0.2,)), from_objects(items, items), Input())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"crop_scale": 0.5}, "crop_scale is a part of the augmentation, which is off. Write --augment too."),
        ({"flips": "none"}, "flips is a part of the augmentation"),
        ({"rotation": 10}, "rotation is a part of the augmentation"),
        ({"augment": True, "rotation": 181}, "rotation needs 0 to 180 degrees; got 181"),
        ({"augment": True, "crop_scale": 0.0}, "crop_scale needs a part, above 0 and up to 1; got 0.0. Write --crop-"),
        ({"mean": (0.5,)}, "mean and std belong together; got one of them"),
        ({"mean": (0.5,), "std": (0.0,)}, "those of std from 0.001; got"),
        ({"mean": (float("nan"),), "std": (0.5,)}, "mean and std need numbers from 0 to 1"),
        ({"mean": (124.0, 116.0, 103.0), "std": (58.0, 57.0, 57.0)}, "If they are of pixels up to 255, divide by 255"),
        ({"mean": (0.5,), "std": (58.0,)}, "mean and std need numbers from 0 to 1"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_data_are_read(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Preprocessing(**given).check()


def test_given_mean_and_std_are_those_of_the_batches():
    feed = Feed(PICTURES, Input(3, 24), Preprocessing(mean=(0.5,), std=(0.25,)), torch.device("cpu"))
    x = feed.example(2)
    assert (x.min().item(), x.max().item()) == (-2.0, 2.0)


def augmented(number=200, **settings):
    """A picture, augmented again and again; [number, 3, 24, 24] of 0 to 255."""
    given = filled(Preprocessing(augment=True, **settings), PICTURES, Input())
    transform = of_picture(24, False, given, augment=True)
    torch.manual_seed(0)
    return torch.stack([transform(Pictures()[0][0]) for _ in range(number)]).float()


@pytest.mark.parametrize("flips", ["none", "horizontal", "vertical", "both"])
def test_pictures_are_mirrored_as_asked(flips):
    x = augmented(flips=flips, crop_scale=1.0)
    # Of pictures cut out whole, the side that is white and where the red bar is.
    mirrored = x[:, 1, 10:14, :4].mean((1, 2)) > x[:, 1, 10:14, -4:].mean((1, 2))
    upside_down = (x[:, 0] - x[:, 1])[:, -3:].mean((1, 2)) > 100
    assert bool(mirrored.any()) == (flips in ("horizontal", "both"))
    assert bool(upside_down.any()) == (flips in ("vertical", "both"))
    assert not mirrored.all()
    assert not upside_down.all()


def test_a_larger_smallest_crop_shows_more_of_the_picture():
    # The red bar is a sixth of the height.
    seen = [
        (augmented(crop_scale=scale)[:, 0] - augmented(crop_scale=scale)[:, 1] > 200).any((1, 2))
        for scale in (0.08, 0.9)
    ]
    assert seen[0].float().mean() < 0.7
    assert seen[1].float().mean() > 0.8


def test_corners_of_a_turned_picture_have_the_mean_colour():
    black = Image.new("RGB", (24, 24))
    given = filled(Preprocessing(augment=True, rotation=45, crop_scale=1.0, mean=(0.5,), std=(1.0,)), PICTURES, Input())
    torch.manual_seed(1)
    x = torch.stack([of_picture(24, False, given, augment=True)(black) for _ in range(20)])
    assert x.max().item() in (127, 128)
    assert x.min().item() == 0


@pytest.mark.parametrize("flips", ["none", "horizontal", "vertical", "both"])
def test_images_in_memory_are_mirrored_as_asked(flips):
    boxes = draw_boxes(500, flips, torch.Generator().manual_seed(0))
    assert boxes.shape == (500, 4)
    assert boxes[:, :2].unique().tolist() == list(range(9))
    for column, ways in ((2, ("horizontal", "both")), (3, ("vertical", "both"))):
        share = boxes[:, column].double().mean().item()
        assert share == 0 if flips not in ways else 0.4 < share < 0.6
