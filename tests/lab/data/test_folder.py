"""Pictures in folders: layouts, modes and sizes, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data import load
from torchmoments.lab.data.folder import check_files, read_image
from torchmoments.lab.models import Input
from torchmoments.lab.training.feed import Feed


def fill(folder, number, shade=128):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        Image.fromarray(np.full((20 + index, 30, 3), shade, np.uint8)).save(folder / f"{index}.png")


def folder(path):
    return load(TrainConfig(data=f"folder:{path}"))


def names(split):
    return [str(path.relative_to(path.parents[1])) for path in split.images.paths]


def test_a_fifth_of_each_class_is_held_out_always_the_same(tmp_path):
    fill(tmp_path / "cat", 30)
    fill(tmp_path / "dog", 10)
    data = folder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert np.bincount(data.test.labels).tolist() == [6, 2]
    assert not set(names(data.train)) & set(names(data.test))
    assert len(set(names(data.train)) | set(names(data.test))) == 40
    assert [data.classes[label] for label in data.train.labels] == [name.split("/")[0] for name in names(data.train)]
    assert names(folder(tmp_path).test) == names(data.test)


@pytest.mark.parametrize("half", ["test", "val"])
def test_a_split_of_its_own_is_taken(tmp_path, half):
    for part, number in (("train", 3), (half, 2)):
        fill(tmp_path / part / "cat" / "more" / "below", number)
        fill(tmp_path / part / "dog", number)
    data = folder(tmp_path)
    assert (len(data.train), len(data.test)) == (6, 4)
    assert data.classes == ("cat", "dog")


def test_another_set_of_images_has_another_description(tmp_path):
    fill(tmp_path / "cat", 5)
    fill(tmp_path / "dog", 5)
    before = folder(tmp_path).describe()
    assert before.startswith("8 + 2 of 2 classes, ")
    fill(tmp_path / "dog", 6)
    assert folder(tmp_path).describe() != before


def pictures(path):
    """The same picture in each mode, bright red where it has colours; gives the colour that each has as RGB."""
    red = Image.new("RGB", (40, 30), (204, 0, 0))
    grey = np.full((30, 40), 204)
    red.save(path / "rgb.png")
    red.convert("RGBA").save(path / "rgba.webp", lossless=True)
    red.convert("P").save(path / "palette.gif")
    red.convert("P").save(path / "palette.png", transparency=0)
    Image.new("CMYK", (40, 30), (0, 255, 255, 51)).save(path / "cmyk.tif")
    colours = dict.fromkeys((file.name for file in path.iterdir()), (204, 0, 0))
    Image.fromarray(grey.astype(np.uint8)).save(path / "grey.png")
    Image.fromarray(grey.astype(np.uint8)).convert("LA").save(path / "alpha.png")
    Image.fromarray((grey * 257).astype(np.uint16)).save(path / "deep.png")
    Image.fromarray((grey * 257).astype(np.uint16)).save(path / "deep.tif")
    Image.fromarray((grey / 255).astype(np.float32)).save(path / "float.tif")
    colours |= dict.fromkeys((file.name for file in path.iterdir() if file.name not in colours), (204,) * 3)
    Image.new("1", (40, 30), 1).save(path / "bits.png")
    return colours | {"bits.png": (255,) * 3}


def test_each_mode_is_read_as_rgb_of_the_same_brightness(tmp_path):
    colours = pictures(tmp_path)
    assert len(colours) == 11
    for name, colour in colours.items():
        image = read_image(tmp_path / name)
        assert (image.mode, image.size) == ("RGB", (40, 30)), name
        assert image.getpixel((20, 15)) == colour, name


def test_a_picture_stands_upright_as_its_camera_says(tmp_path):
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (30, 40)


def test_batches_have_the_size_of_the_network_and_its_normalization(tmp_path):
    fill(tmp_path / "cat", 4, shade=255)
    fill(tmp_path / "dog", 4, shade=0)
    wanted = Input(channels=3, size=24, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop=0.9)
    data = folder(tmp_path)
    feed = Feed(data, wanted, TrainConfig(), torch.device("cpu"))
    (x,) = feed.test()
    assert x.shape == (2, 3, 24, 24)
    assert x.flatten(1).amax(1).tolist() == x.flatten(1).amin(1).tolist() == [2.0, -2.0]
    assert Feed(data, Input(), TrainConfig(), torch.device("cpu")).example(2).shape == (2, 3, 64, 64)
    assert Feed(data, wanted, TrainConfig(image_size=40), torch.device("cpu")).example(2).shape == (2, 3, 40, 40)


def refused(path, sentence):
    with pytest.raises(ValueError, match=sentence):
        folder(path)


def test_a_folder_that_is_missing_empty_or_of_one_class_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "got '.*nowhere', which does not exist")
    refused(tmp_path, "which has none")
    (tmp_path / "cat").mkdir()
    refused(tmp_path, "which has 1 folders without an image")
    fill(tmp_path / "cat", 3)
    refused(tmp_path, "two classes or more; got one, 'cat'")
    (tmp_path / "dog").mkdir()
    refused(tmp_path, "each class needs an image; got none in .*dog")
    fill(tmp_path / "dog", 1)
    refused(tmp_path, "two images, one of them for the test; got 1 of 'dog'")


def test_images_without_class_folders_are_refused(tmp_path):
    fill(tmp_path, 3)
    refused(tmp_path, "a folder for each class, with images; got .*, which has none")


def test_a_test_class_that_training_lacks_is_refused(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / part / "cat", 2)
        fill(tmp_path / part / "dog", 2)
    fill(tmp_path / "test" / "owl", 2)
    refused(tmp_path, "has no 'owl'")


def test_unreadable_images_are_named_and_counted(tmp_path):
    fill(tmp_path / "cat", 5)
    fill(tmp_path / "dog", 5)
    data = folder(tmp_path)
    check_files(data)
    (tmp_path / "cat" / "1.png").write_text("no picture")
    path = tmp_path / "dog" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    (tmp_path / "dog" / "3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got '.*cat/1.png' \(no image\), and 2 more"):
        check_files(data)


def test_files_that_are_no_images_and_hidden_ones_are_left_out(tmp_path):
    fill(tmp_path / "cat", 3)
    fill(tmp_path / "dog", 3)
    (tmp_path / "dog" / "notes.txt").write_text("mine")
    (tmp_path / "dog" / "._0.png").write_text("of another system")
    (tmp_path / ".cache").mkdir()
    data = folder(tmp_path)
    assert len(data.train) + len(data.test) == 6
