"""Which images a report shows, against counts made one image at a time."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.lab.report.made import comparison, drawn
from torchmoments_lab.report import shown
from torchmoments_lab.report.page import Picture, Table, Text
from torchmoments_lab.report.runs import Plan
from torchmoments_lab.report.summarize import summarize

CLASSES = ["cat", "dog", "owl"]


def made(images=60, seeds=4, methods=("none", "moex"), **others):
    targets, _ = drawn(3, images, seeds)
    predicted = {method: drawn(3, images, seeds, 0.6, number)[1] for number, method in enumerate(methods)}
    return comparison(CLASSES, targets, predicted, **others), targets, predicted


def changes(found):
    return shown.changes(found, summarize(found))


def of_kind(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


@pytest.fixture
def drawings(monkeypatch):
    """The rows of pictures that are drawn."""
    rows = []
    monkeypatch.setattr(shown, "draw", lambda name, figure: figure())
    monkeypatch.setattr(shown, "picture_rows", lambda of: rows.append(of))
    return rows


def numbered(number):
    """Pictures that say which they are."""
    return np.broadcast_to(np.arange(number, dtype=np.uint8)[:, None, None, None], (number, 4, 4, 3))


def test_the_images_are_those_with_the_largest_change_and_come_first_to_last(drawings):
    found, targets, predicted = made(test=numbered(60))
    wrong = {
        method: [sum(int(of_seed[i] != targets[i]) for of_seed in predicted[method]) for i in range(60)]
        for method in predicted
    }
    change = [wrong["moex"][i] - wrong["none"][i] for i in range(60)]
    better = [i for i in sorted(range(60), key=lambda i: (change[i], i)) if change[i] < 0][:8]
    worse = [i for i in sorted(range(60), key=lambda i: (-change[i], i)) if change[i] > 0][:8]
    section = changes(found)
    for numbers, often, table in zip((better, worse), ("Right", "Wrong"), of_kind(section, Table), strict=True):
        assert table.headings == ["Image", "Class", "Taken for", "none", "moex"]
        assert [row[:2] + row[3:] for row in table.rows] == [
            [f"image {i}", CLASSES[targets[i]], str(wrong["none"][i]), str(wrong["moex"][i])] for i in numbers
        ]
        for i, row in zip(numbers, table.rows, strict=True):
            taken = [int(of_seed[i]) for of in predicted.values() for of_seed in of if of_seed[i] != targets[i]]
            assert taken.count(CLASSES.index(row[2])) == max(map(taken.count, taken))
        assert table.caption == (
            f"{often} more often with moex, in the order of the pictures: wrong with so many of 4 seeds, and then most "
            "often taken for"
        )
    ((first, second),) = drawings
    assert (first[0], second[0]) == ("Right more often with moex", "Wrong more often with moex")
    assert [int(picture[0, 0, 0]) for picture in first[1]] == better
    assert [int(picture[0, 0, 0]) for picture in second[1]] == worse
    gained, lost = (sum(sign * of >= 2 for of in change) for sign in (-1, 1))
    assert section.blocks[0] == Text(
        f"Of 60 test images, moex gets {gained} right with at least half of the seeds more than none, and {lost} wrong "
        "with at least half more."
    )


def test_that_no_image_changes_much_is_said(drawings):
    targets = np.zeros(30, int)
    before = np.zeros((5, 30), int)
    after = before.copy()
    after[0, 3] = 1
    section = changes(comparison(CLASSES, targets, {"none": before, "moex": after}, test=numbered(30)))
    assert section.blocks[0].words.endswith("0 wrong with at least half more. The images below change less.")


def test_images_are_named_by_their_files():
    found, _, _ = made(files=[f"{k}.png" for k in range(60)])
    rows = [row for table in of_kind(changes(found), Table) for row in table.rows]
    assert rows
    assert all(re.fullmatch(r"\d+\.png", row[0]) for row in rows)


def test_without_pictures_there_are_names_alone():
    found, _, _ = made()
    section = changes(found)
    assert of_kind(section, Picture) == []
    assert not any("pictures" in table.caption for table in of_kind(section, Table))
    assert shown.inputs(found, summarize(found)).blocks == []


def test_a_method_that_only_gains_has_one_row(drawings):
    targets, worse = drawn(3, 30, 3)
    found = comparison(CLASSES, targets, {"none": worse, "moex": np.array([targets] * 3)}, test=numbered(30))
    changes(found)
    assert [words for words, _ in drawings[0]] == ["Right more often with moex"]


def test_a_method_that_is_the_same_is_said_to_be():
    targets, same = drawn(3, 30, 3)
    section = changes(comparison(CLASSES, targets, {"none": same, "moex": same[::-1]}, test=numbered(30)))
    assert section.blocks[0] == Text("moex is wrong on the same images as none, and as often.")
    assert of_kind(section, Table) == []


def test_with_one_method_or_without_pairs_nothing_is_said():
    targets, predicted = drawn(3, 30, 3)
    assert changes(comparison(CLASSES, targets, {"none": predicted})).blocks == []
    assert changes(comparison(CLASSES, targets, {"none": predicted, "moex": []})).blocks == []
    found = comparison(CLASSES, targets, {"none": predicted, "moex": predicted})
    assert changes(replace(found, images=None)).blocks == []


def test_of_many_methods_three_are_shown_and_first_those_with_a_difference(drawings):
    targets, _ = drawn(3, 60, 4)
    words = ["none", "a", "b", "c", "d", "e", "moex"]
    predicted = {method: drawn(3, 60, 4, 0.6, number)[1] for number, method in enumerate(words)}
    predicted["moex"] = np.array([targets] * 4)
    section = changes(comparison(CLASSES, targets, predicted, test=numbered(60)))
    assert list(dict.fromkeys(table.headings[4] for table in of_kind(section, Table))) == ["moex", "a", "b"]
    assert [picture.name for picture in of_kind(section, Picture)] == [f"pictures-{k}" for k in (1, 2, 3)]
    assert Text("The images of 3 more methods are not shown.") in section.blocks


def test_by_a_plan_only_the_seeds_that_are_judged_are_counted():
    found, targets, predicted = made(seeds=7, plan=Plan((3, 6, 12)))
    for table in of_kind(changes(found), Table):
        assert "wrong with so many of 6 seeds" in table.caption
        at = [int(row[0].removeprefix("image ")) for row in table.rows]
        assert [int(row[3]) for row in table.rows] == [(predicted["none"][:6, i] != targets[i]).sum() for i in at]


def test_seeds_that_only_one_of_both_has_are_not_counted():
    targets, predicted = drawn(3, 30, 5)
    other = drawn(3, 30, 3, 0.6, 1)[1]
    found = of_kind(changes(comparison(CLASSES, targets, {"none": predicted, "moex": other})), Table)
    assert all("wrong with so many of 3 seeds" in table.caption for table in found)


def test_inputs_are_training_images_and_test_images_from_all_over(drawings):
    found, _, _ = made(test=numbered(60), augmented=numbered(3))
    (picture, _) = shown.inputs(found, summarize(found)).blocks
    assert picture.description == "3 training images and 8 test images, as the network gets them."
    ((training, test),) = drawings
    assert (training[0], len(training[1])) == ("training images", 3)
    assert [int(shown_image[0, 0, 0]) for shown_image in test[1]] == [0, 8, 16, 25, 33, 42, 50, 59]


def test_inputs_of_a_validation_are_called_so(drawings):
    found, _, _ = made(images=5, test=numbered(5), augmented=numbered(5), settings={"evaluate": "validation"})
    (picture, _) = shown.inputs(found, summarize(found)).blocks
    assert picture.description == "5 training images and 5 validation images, as the network gets them."
    assert len(drawings[0][1][1]) == 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"augment": False, "mean": [0.30625], "std": [0.375]}, "No augmentation; mean 0.306; std 0.375."),
        (
            {"image_size": 64, "augment": True, "crop_scale": 0.35, "flips": "horizontal", "rotation": 0.0, "mean": []},
            "64 x 64 pixels; training images: crops of 35% of the area or more, mirrored left to right.",
        ),
        (
            {"augment": True, "crop_scale": None, "flips": "none", "rotation": 0.0},
            "Training images: shifted by up to 4 pixels.",
        ),
        (
            {"augment": True, "crop_scale": 1.0, "flips": "vertical", "rotation": 22.5, "test_crop": 0.875},
            "Training images: crops of 100% of the area or more, mirrored top to bottom, turned by up to 22.5 degrees; "
            "of test images the middle 87.5% of each side.",
        ),
        ({"augment": True, "flips": "both"}, "Training images: shifted by up to 4 pixels, mirrored both ways."),
        ({}, "No augmentation."),
    ],
)
def test_it_is_said_how_images_are_prepared(drawings, settings, said):
    found, _, _ = made(test=numbered(60), augmented=numbered(3), settings=settings)
    assert shown.inputs(found, summarize(found)).blocks[1] == Text(said)
