import numpy as np
import pytest
import torch

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.data import load
from torchmoments_lab.data.split import stratified
from torchmoments_lab.models import Input
from torchmoments_lab.training.feed import Feed


@pytest.fixture(scope="module")
def digits():
    return load(TrainConfig())


def test_test_set_is_a_fifth_and_every_image_is_used_once(digits):
    assert len(digits.test) == 360
    assert len(digits.train) == 1437
    together = np.concatenate([digits.train.images.numpy(), digits.test.images.numpy()]).reshape(1797, 64)
    assert len(np.unique(together, axis=0)) == 1797


def test_test_set_is_the_same_at_every_load(digits):
    again = load(TrainConfig())
    assert again.test.images.equal(digits.test.images)
    assert again.test.labels.equal(digits.test.labels)


def test_pixels_are_standardized(digits):
    images = Feed(digits, Input(), TrainConfig(), torch.device("cpu")).example(1437)
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05


@pytest.mark.parametrize("size", [10, 11, 57, 200, 1436, 1437])
def test_subset_has_its_size_and_every_class_in_its_share(digits, size):
    labels = digits.train.labels[digits.subset(size, seed=3)]
    assert len(labels) == size
    shares = np.bincount(digits.train.labels) * size / len(digits.train)
    assert (np.abs(np.bincount(labels, minlength=10) - shares) <= 1).all()


def test_a_rare_class_keeps_one_image():
    labels = np.array([0] * 500 + [1] * 3 + [2] * 97)
    assert np.bincount(labels[stratified(labels, 3, 12, seed=0)]).tolist() == [9, 1, 2]
    assert np.bincount(labels[stratified(labels, 3, 600, seed=0)]).tolist() == [500, 3, 97]


def test_subset_depends_on_the_seed_alone(digits):
    first, again, other = (digits.subset(50, seed=seed) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_subset_has_no_image_twice(digits):
    assert len(digits.subset(300, seed=0).unique()) == 300


@pytest.mark.parametrize("size", [0, 9, 1438])
def test_subset_of_an_impossible_size_is_refused(digits, size):
    with pytest.raises(ValueError, match=f"train_size needs 10 .* to 1437 images; got {size}"):
        digits.subset(size, seed=0)
