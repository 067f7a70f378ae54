"""What a report says of the classes, against counts made one image at a time."""

import numpy as np
import pytest

from tests.lab.report.made import comparison, drawn
from torchmoments_lab.report import classes
from torchmoments_lab.report.page import Picture, Table
from torchmoments_lab.report.wording import NONE
from torchmoments_lab.statistics.crossed import estimate

# They train.
pytestmark = pytest.mark.slow


def named(number):
    return [f"class {c}" for c in range(number)]


def made(number=3, images=60, seeds=3, methods=("none", "moex")):
    targets, _ = drawn(number, images, seeds)
    predicted = {method: drawn(number, images, seeds, 0.6, k)[1] for k, method in enumerate(methods)}
    return comparison(named(number), targets, predicted), targets, predicted


def tables(found):
    return [block for block in classes.section(found).blocks if isinstance(block, Table)]


def pictures(found):
    return [block for block in classes.section(found).blocks if isinstance(block, Picture)]


def slow_shares(targets, predicted, number):
    """[class][taken for]: percent, counted one by one; None without images."""
    counts = [[0] * number for _ in range(number)]
    for of_seed in predicted:
        for target, taken in zip(targets, of_seed, strict=True):
            counts[target][taken] += 1
    return [[100 * n / sum(row) if sum(row) else None for n in row] for row in counts]


def test_a_confusion_matrix_is_the_share_that_is_taken_for_each_class():
    found, targets, predicted = made(4, 50, 5)
    for method in ("none", "moex"):
        shares = classes.confusion(list(found.runs[method].values()), 4)
        assert shares == pytest.approx(np.array(slow_shares(targets, predicted[method], 4)))


def test_the_table_has_the_images_of_each_class_and_its_recall_with_an_interval():
    found, targets, predicted = made()
    (table,) = tables(found)
    assert table.headings == ["Class", "Training", "Test", "none", "moex"]
    for c, row in enumerate(table.rows):
        assert row[:3] == [f"class {c}", "10", str((targets == c).sum())]
        for cell, method in zip(row[3:], ("none", "moex"), strict=True):
            of_class = [[of_seed[i] for i in range(len(targets)) if targets[i] == c] for of_seed in predicted[method]]
            right = [[100.0 * (taken == c) for taken in of_seed] for of_seed in of_class]
            low, high = estimate(np.array(right)).ci95
            assert cell == f"{np.mean(right):.2f} ({max(0, low):.2f} to {min(100, high):.2f})"


def test_no_interval_of_a_recall_is_beyond_what_can_be():
    targets = np.array([0, 0, 1, 1])
    found = comparison(named(2), targets, {"none": [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]})
    (table,) = tables(found)
    assert table.rows[0][3].endswith(" to 100.00)")
    assert "(0.00 to " in table.rows[1][3]


def test_a_class_without_test_images_has_no_recall_and_one_with_a_single_image_no_interval():
    targets = np.array([0] * 5 + [2])
    found = comparison(named(3), targets, {"none": [[0, 0, 1, 0, 0, 2], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 2]]})
    (table,) = tables(found)
    assert [row[2:] for row in table.rows][1:] == [["0", NONE], ["1", "66.67"]]
    (picture,) = pictures(found)
    assert "class 0 80%, class 2 67%" in picture.description
    assert "nan" not in picture.description


@pytest.mark.parametrize("number", [2, 12])
def test_a_few_classes_are_drawn_and_all_listed(number):
    found, targets, predicted = made(number, 240)
    (table,) = tables(found)
    (picture,) = pictures(found)
    assert len(table.rows) == number
    share = slow_shares(targets, predicted["moex"], number)[number - 1][number - 1]
    assert picture.description.endswith(f"class {number - 1} {share:.0f}%.")


@pytest.mark.parametrize("number", [13, 30])
def test_of_many_classes_the_pairs_are_listed_that_the_reference_confuses_most(number):
    found, targets, predicted = made(number, 600)
    *_, table = tables(found)
    assert pictures(found) == []
    shares = {method: slow_shares(targets, predicted[method], number) for method in predicted}
    pairs = [(c, taken) for c in range(number) for taken in range(number) if c != taken]
    worst = sorted(pairs, key=lambda pair: -shares["none"][pair[0]][pair[1]])[:10]
    assert table.rows == [
        [f"class {c}", f"class {taken}", *(f"{shares[method][c][taken]:.2f}" for method in ("none", "moex"))]
        for c, taken in worst
    ]
    assert table.names == 2


def test_of_many_classes_those_are_listed_that_the_reference_recognizes_least():
    targets = np.arange(60) % 30
    # Of class 29 there is no image; each class is recognized as often as its number says.
    targets[targets == 29] = 28
    predicted = np.array([[t if seed < t else (t + 1) % 30 for t in targets] for seed in range(30)])
    first, _ = tables(comparison(named(30), targets, {"none": predicted}))
    assert [row[0] for row in first.rows] == [f"class {c}" for c in range(20)]
    assert first.caption.startswith("The 20 of 30 classes that are recognized least by none: images of each, and ")


def test_without_any_confusion_there_is_no_table_of_it():
    targets = np.arange(60) % 30
    assert len(tables(comparison(named(30), targets, {"none": np.array([targets] * 3)}))) == 1


def test_each_method_has_a_column_or_if_there_are_many_a_row_for_each_class():
    words = ["none", *(f"moex:p=0.{k}" for k in range(1, 12))]
    few, many = (tables(made(methods=methods)[0])[0] for methods in (words[:4], words))
    assert few.headings == ["Class", "Training", "Test", *words[:4]]
    assert many.headings == ["Class", "Method", "Recall", "Training", "Test"]
    assert [row[:2] for row in many.rows[:12]] == [[few.rows[0][0], word] for word in words]
    for c, (name, training, test, *recalls) in enumerate(few.rows):
        assert many.rows[12 * c : 12 * c + 4] == [
            [name, word, recall, training, test] for word, recall in zip(words[:4], recalls, strict=True)
        ]


def test_methods_without_a_run_are_left_out():
    _, targets, predicted = made()
    alone = comparison(named(3), targets, {"none": [], "moex": predicted["moex"]})
    assert tables(alone)[0].headings[3:] == ["moex"]
    assert classes.section(comparison(named(3), targets, {"none": [], "moex": []})).blocks == []


def test_seeds_without_an_interval_have_a_recall():
    found, targets, predicted = made(seeds=2)
    cells = [row[3] for row in tables(found)[0].rows]
    assert cells == [f"{100 * np.mean(predicted['none'][:, targets == c] == c):.2f}" for c in range(3)]
