"""The metrics against counting, image by image and pair by pair."""

import itertools

import numpy as np
import pytest

from torchmoments_lab.metrics import check_classes, of_images, score


def rows(targets, scores):
    scores = np.asarray(scores, np.float32)
    made = np.empty(
        len(targets),
        dtype=[("target", np.int64), ("predicted", np.int64), ("scores", np.float32, (scores.shape[1],))],
    )
    made["target"], made["predicted"], made["scores"] = targets, scores.argmax(1), scores
    return made


@pytest.fixture(params=[2, 4])
def some(request):
    random = np.random.default_rng(0)
    # Class 1 is rare; scores are coarse, so that there are ties.
    targets = np.where(random.random(60) < 0.1, 1, random.integers(0, request.param, 60))
    scores = random.integers(0, 5, (60, request.param)) + 2.0 * np.eye(request.param)[targets]
    return rows(targets, scores / scores.sum(1, keepdims=True))


def test_error_counts_wrong_images(some):
    wrong = sum(row["target"] != row["predicted"] for row in some)
    assert score("error", some) == pytest.approx(100 * wrong / 60)


def test_balanced_error_is_the_mean_of_the_classes(some):
    shares = []
    for label in set(some["target"].tolist()):
        of_class = [row for row in some if row["target"] == label]
        shares.append(sum(row["predicted"] != label for row in of_class) / len(of_class))
    assert score("balanced-error", some) == pytest.approx(100 * sum(shares) / len(shares))
    assert score("balanced-error", some) != pytest.approx(score("error", some))


def test_auroc_is_the_share_of_pairs_in_the_right_order(some):
    areas = []
    for label in set(some["target"].tolist()):
        of_class = [row["scores"][label] for row in some if row["target"] == label]
        others = [row["scores"][label] for row in some if row["target"] != label]
        pairs = [(mine > theirs) + 0.5 * (mine == theirs) for mine, theirs in itertools.product(of_class, others)]
        areas.append(np.mean(pairs))
    assert score("auroc", some) == pytest.approx(100 * (1 - np.mean(areas)))


def test_a_class_that_the_test_has_not_is_left_out():
    some = rows([0, 0, 2, 2], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.3, 0.1, 0.6]])
    assert score("balanced-error", some) == pytest.approx(25)
    assert score("auroc", some) == pytest.approx(100 * (1 - np.mean([0.75, 1])))


@pytest.mark.parametrize("metric", ["error", "balanced-error"])
def test_the_mean_over_images_is_the_metric(some, metric):
    assert of_images(metric, some).mean() == pytest.approx(score(metric, some))


def test_auroc_is_no_mean_over_images(some):
    with pytest.raises(ValueError, match="needs the metric error or balanced-error; got auroc"):
        of_images("auroc", some)


@pytest.mark.parametrize(
    ("metric", "targets", "sentence"),
    [
        ("error", [0, 0], None),
        ("balanced-error", [0, 1, 2, 3], None),
        ("balanced-error", [0, 1, 3], "Class 'c' has no test image, so the balanced error is the mean over the other"),
        (
            "balanced-error",
            [1, 1],
            "3 classes, such as 'a', have no test image, so the balanced error is the mean over",
        ),
        ("auroc", [0, 1, 3], "Class 'c' has no test image, so the AUROC error is the mean over the other classes."),
    ],
)
def test_classes_without_test_images_are_told_where_they_matter(metric, targets, sentence):
    said = check_classes(metric, np.array(targets), "abcd", of="test")
    assert said == sentence or said.startswith(sentence)


def test_auroc_of_one_class_is_refused():
    with pytest.raises(ValueError, match="auroc needs test images of two classes; got 3, all of class 'b'. Write"):
        check_classes("auroc", np.array([1, 1, 1]), "ab", of="test")
