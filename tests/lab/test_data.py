import numpy as np
import pytest

from torchmoments.lab.data import load


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_test_set_is_a_fifth_and_every_image_is_used_once(digits):
    assert len(digits.test_labels) == 360
    assert len(digits.labels) == 1437
    together = np.concatenate([digits.images.numpy(), digits.test_images.numpy()]).reshape(1797, 64)
    assert len(np.unique(together, axis=0)) == 1797


def test_test_set_is_the_same_at_every_load(digits):
    again = load("digits")
    assert again.test_images.equal(digits.test_images)
    assert again.test_labels.equal(digits.test_labels)


def test_pixels_are_standardized(digits):
    assert abs(digits.images.mean()) < 0.05
    assert abs(digits.images.std() - 1) < 0.05


@pytest.mark.parametrize("size", [10, 11, 57, 200, 1436, 1437])
def test_subset_has_its_size_and_every_class_in_its_share(digits, size):
    images, labels = digits.subset(size, seed=3)
    assert len(images) == len(labels) == size
    shares = np.bincount(digits.labels) * size / len(digits.labels)
    assert (np.abs(np.bincount(labels, minlength=10) - shares) <= 1).all()


def test_subset_depends_on_the_seed_alone(digits):
    first, again, other = (digits.subset(50, seed=seed)[0] for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_subset_has_no_test_image_and_no_image_twice(digits):
    subset = digits.subset(300, seed=0)[0].reshape(300, 64)
    assert len(np.unique(subset, axis=0)) == 300
    test = {image.tobytes() for image in digits.test_images.numpy()}
    assert not any(image.tobytes() in test for image in subset.numpy())


@pytest.mark.parametrize("size", [0, 9, 1438])
def test_subset_of_an_impossible_size_is_refused(digits, size):
    with pytest.raises(ValueError, match=f"train_size needs 10 .* to 1437 images; got {size}"):
        digits.subset(size, seed=0)
