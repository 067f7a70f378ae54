"""The metrics against counting, image by image and pair by pair."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss

from torchmoments_lab.metrics import METRICS, check_classes, of_images, of_one_class, score


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


def counted(metric, some):
    """The metric of lists, by counting, from 0 to 100."""
    targets, predicted, scores = some["target"].tolist(), some["predicted"].tolist(), some["scores"].tolist()
    images, of_classes = range(len(targets)), []
    if metric == "calibration":
        # {bin: accuracy minus confidence of its images}
        gaps = {}
        for target, guess, row in zip(targets, predicted, scores, strict=True):
            gaps.setdefault(min(int(max(row) * 15), 14), []).append((guess == target) - max(row))
        return 100 * sum(abs(sum(of_bin)) for of_bin in gaps.values()) / len(targets)
    for label in sorted(set(targets)):
        mine = [image for image in images if targets[image] == label]
        if metric == "balanced-error":
            of_classes.append(sum(predicted[image] != label for image in mine) / len(mine))
            continue
        if metric == "average-precision":
            of_classes.append(1 - average_precision_score(some["target"] == label, some["scores"][:, label]))
            continue
        pairs = [(scores[m][label], scores[o][label]) for m in mine for o in images if targets[o] != label]
        of_classes.append(sum((own < other) + 0.5 * (own == other) for own, other in pairs) / len(pairs))
    return 100 * sum(of_classes) / len(of_classes)


@pytest.mark.parametrize("metric", METRICS)
def test_the_mean_over_images_is_the_metric(some, metric):
    found = of_images(metric, some)
    assert found.shape == (60,)
    assert found.mean() == pytest.approx(score(metric, some))


def test_an_image_is_worth_100_points_of_the_error_or_none(some):
    assert of_images("error", some).tolist() == [100.0 * (row["target"] != row["predicted"]) for row in some]


@pytest.mark.parametrize("metric", ["balanced-error", "auroc", "average-precision", "calibration"])
def test_what_an_image_contributes_is_what_leaving_it_out_tells(some, metric):
    whole = counted(metric, some)
    told = np.array([60 * whole - 59 * counted(metric, np.delete(some, image)) for image in range(60)])
    assert score(metric, some) == pytest.approx(whole)
    assert of_images(metric, some) == pytest.approx(told - told.mean() + whole, abs=1e-6)
    # Of areas and of means over classes the jackknife needs no such constant.
    if metric in ("balanced-error", "auroc"):
        assert told.mean() == pytest.approx(whole)


def test_the_log_loss_is_that_of_scikit_learn_in_hundredths_of_a_nat(some):
    labels = range(some["scores"].shape[1])
    assert score("log-loss", some) == pytest.approx(100 * log_loss(some["target"], some["scores"], labels=labels))
    assert of_images("log-loss", some)[0] == pytest.approx(-100 * np.log(some["scores"][0, some["target"][0]]))


def test_a_target_without_any_probability_has_a_finite_loss():
    assert score("log-loss", rows([0], [[0.0, 1.0]])) == pytest.approx(-100 * np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("metric", ["balanced-error", "auroc", "average-precision"])
def test_with_one_image_of_a_class_there_is_the_metric_alone(some, metric):
    rare = np.flatnonzero(some["target"] == 1)
    one = np.delete(some, rare[1:])
    assert of_images(metric, one) == pytest.approx([counted(metric, one)])
    assert len(of_images("error", one)) == len(one)


@pytest.mark.parametrize(
    ("metric", "targets", "sentences"),
    [
        ("error", [0, 0, 1], []),
        ("balanced-error", [0, 1, 2, 3] * 2, []),
        (
            "balanced-error",
            [0, 1, 3] * 2,
            ["Class 'c' has no test image, so the balanced error is the mean over the other classes."],
        ),
        (
            "balanced-error",
            [1, 1],
            ["3 classes, such as 'a', have no test image, so the balanced error is the mean over the other classes."],
        ),
        (
            "auroc",
            [0, 0, 1, 1, 3],
            [
                "Class 'c' has no test image, so the AUROC error is the mean over the other classes.",
                "Class 'd' has a single test image, so intervals are for these test images alone.",
            ],
        ),
        (
            "auroc",
            [0, 1, 2, 3, 3],
            ["3 classes, such as 'a', have a single test image, so intervals are for these test images alone."],
        ),
    ],
)
def test_classes_with_few_test_images_are_told_where_they_matter(metric, targets, sentences):
    assert check_classes(metric, np.array(targets), "abcd", of="test") == sentences


def test_always_naming_the_most_frequent_class_is_wrong_on_all_others():
    targets = np.array([0, 0, 0, 2, 2, 3])
    assert of_one_class("error", targets) == pytest.approx(50)
    assert of_one_class("balanced-error", targets) == pytest.approx(100 * 2 / 3)
    assert of_one_class("auroc", targets) is None


def test_auroc_of_one_class_is_refused():
    with pytest.raises(ValueError, match="auroc needs test images of two classes; got 3, all of class 'b'. Write"):
        check_classes("auroc", np.array([1, 1, 1]), "ab", of="test")
