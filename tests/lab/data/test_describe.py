"""What the data are in words, and which data are other data."""

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.data import load
from torchmoments_lab.data.describe import copies, facts, sentences
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.records import RECORD
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.settings import DataSettings


def data(train, test, classes=("cat", "dog")):
    """Of pictures made of arrays."""
    made = from_objects(*([(np.asarray(values), label) for values, label in part] for part in (train, test or train)))
    return Data(made.train, made.test, classes, peak=255.0)


def noise(number, highest=256, dtype=np.uint8, seed=0):
    random = np.random.default_rng(seed)
    return [(random.integers(0, highest, (7, 9)).astype(dtype), index % 2) for index in range(number)]


def digest(data):
    return dict(facts(data))["images"].rpartition(", ")[2]


def test_the_first_sentence_says_classes_depth_sizes_and_numbers():
    given = data(noise(8), noise(3, seed=1))
    assert sentences(given, "validation") == [
        "2 classes: cat 6, dog 5; 8-bit grey; 9 x 7; 8 training and 3 validation images."
    ]
    mixed = data([*noise(8), (np.zeros((20, 5, 3), np.uint8), 0), (np.eye(20, 5, dtype=np.uint16) * 9, 0)], noise(3))
    assert (
        ": cat 8, dog 5; 16-bit grey (1), 8-bit grey (12), 0 to 9 from black to white; 5 to 9 x 7 to 20; 10 tr"
        in (sentences(mixed, "test")[0])
    )


def test_many_classes_are_shortened_and_numbers_are_told_from_counts():
    labels = torch.arange(60) % 6
    split = Split.in_memory(torch.rand(60, 1, 4, 4), labels)
    names = tuple(f"class{number}" for number in range(6))
    assert (
        "6 classes: class0, class1, class2, ..., class5, of 20 images each; "
        in sentences(Data(split, split, names), "test")[0]
    )
    few = Split.in_memory(torch.rand(60, 1, 4, 4), labels % 3)
    assert dict(facts(Data(few, few, ("0", "1", "a"))))["classes"] == "0: 40, 1: 40, a 40"


def test_tensors_are_described_by_their_shape_and_their_values():
    images = torch.linspace(-1.5, 2, 2 * 6 * 3 * 4 * 5).reshape(12, 3, 4, 5)
    given = from_objects((images, torch.arange(12) % 2), (images, torch.arange(12) % 2))
    assert "; normalized, 3 x 4 x 5, values -1.5 to 2; " in sentences(given, "test")[0]
    assert "; 1 x 8 x 8, values 0 to 16; " in sentences(load(DataSettings()), "test")[0]


def test_any_change_of_the_contents_the_labels_or_the_names_is_another_record():
    train, test = noise(8), noise(4, seed=1)
    before = digest(data(train, test))
    assert digest(data(noise(8), noise(4, seed=1))) == before
    changed = train[3][0].copy()
    changed[2, 5] ^= 1
    others = [
        data([*train[:3], (changed, train[3][1]), *train[4:]], test),
        data(train, [*test[:3], (changed, test[3][1])]),
        data([(values, 1 - label) for values, label in train], test),
        data([train[2], train[1], train[0], *train[3:]], test),
        data(train, test, ("cat", "owl")),
        data(noise(8, seed=2), noise(4, seed=3)),
    ]
    assert len({before, *map(digest, others)}) == 7


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_any_pixel_of_images_in_memory_is_part_of_the_record(kind):
    images = torch.arange(200 * 12).reshape(200, 1, 3, 4).remainder(251).to(kind)
    test = Split.in_memory(images[:5], torch.arange(5) % 2)

    def made(images):
        return Data(Split.in_memory(images, torch.arange(200) % 2), test, ("a", "b"))

    # The last pixel of an image in the middle.
    changed = images.clone()
    changed[101, 0, 2, 3] += 1
    assert digest(made(images)) == digest(made(images.clone())) != digest(made(changed))


def test_validation_images_are_described_without_the_test_images():
    given = data(noise(20), noise(4, seed=1))
    held_out = given.without_test()
    assert dict(facts(held_out))["classes"] == "cat 10, dog 10"
    assert digest(held_out) == digest(data(noise(20), noise(4, seed=2)).without_test())


def test_black_and_white_come_from_the_images_that_are_trained_on():
    def numbered(brighter):
        """The value of each picture is its number, and 9000 more in some."""
        return data([(np.full((5, 5), n + 9000 * (n in brighter), np.uint16), n % 2) for n in range(20)], [])

    def values(split):
        return {int(np.asarray(image).max()) for image in split.images}

    kept, held_out = map(values, (numbered([]).without_test().train, numbered([]).without_test().test))
    assert numbered(held_out).levels == (min(kept), 9000 + max(held_out))
    assert numbered(held_out).without_test().levels == (min(kept), max(kept))


def test_copies_on_both_sides_of_the_split_are_counted_whatever_their_file(tmp_path):
    random = np.random.default_rng(0)
    for name, number in (("train", 6), ("test", 4)):
        for index in range(number):
            folder = tmp_path / name / ("cat" if index % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (9, 9), dtype=np.uint8)).save(folder / f"{index}.png")
    assert copies(load(DataSettings(data=f"folder:{tmp_path}"))) == 0
    with Image.open(tmp_path / "train" / "cat" / "1.png") as image:
        image.save(tmp_path / "test" / "cat" / "again.tif")
        image.convert("RGB").save(tmp_path / "test" / "dog" / "coloured.bmp")
    given = load(DataSettings(data=f"folder:{tmp_path}"))
    assert dict(facts(given))["copies"] == "2 of 6"
    assert sentences(given, "test")[-1] == (
        "Test images that are also training images, pixel for pixel: 2 of 6. Errors on new images are higher."
    )


def test_images_that_differ_at_each_read_are_no_copies():
    split = Split(["image"] * 4, torch.arange(4) % 2, np.zeros(4, RECORD))
    assert copies(Data(split, split, ("a", "b"))) == 0


def test_deep_test_pictures_need_deep_training_pictures():
    given = data(noise(8), noise(4, 4096, np.uint16))
    with pytest.raises(ValueError, match="need training pictures of the same kind.* Save both in one way"):
        facts(given)


@pytest.mark.parametrize(("high", "is_refused"), [(15, True), (200, False)])
def test_16_bits_a_colour_are_refused_if_the_part_that_is_read_is_empty(high, is_refused):
    given = data(noise(8), noise(4, seed=1))
    given.train.records["cut"], given.train.records["high"] = True, high
    if is_refused:
        with pytest.raises(ValueError, match="got 8 that use values to 4,095. Save them scaled up to 65,535"):
            facts(given)
    else:
        assert "8 images have 16 bits a colour, of which the upper 8 are read." in sentences(given, "test")
