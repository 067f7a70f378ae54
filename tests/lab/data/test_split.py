"""Stratified subsets, and validation images: part of the training set, the same for every run, never test images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from torchmoments_lab.data import load
from torchmoments_lab.data.split import Data, Split, stratified
from torchmoments_lab.resolve import load_data
from torchmoments_lab.settings import DataSettings, Judging


@pytest.fixture(scope="module")
def digits():
    return load(DataSettings())


@pytest.mark.parametrize("size", [10, 11, 57, 200, 499, 500])
def test_a_subset_has_its_size_no_image_twice_and_each_class_in_proportion(digits, size):
    index = digits.subset(size, seed=3)
    assert len(index.unique()) == len(index) == size
    shares = np.bincount(digits.train.labels) * size / len(digits.train)
    assert (np.abs(np.bincount(digits.train.labels[index], minlength=10) - shares) <= 1).all()


def test_a_rare_class_keeps_one_image():
    labels = np.array([0] * 500 + [1] * 3 + [2] * 97)
    assert np.bincount(labels[stratified(labels, 3, 12, seed=0)]).tolist() == [9, 1, 2]
    assert np.bincount(labels[stratified(labels, 3, 600, seed=0)]).tolist() == [500, 3, 97]


def test_a_subset_depends_on_the_seed_alone(digits):
    first, again, other = (digits.subset(50, seed=seed) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("size", [0, 9, 501])
def test_a_subset_of_an_impossible_size_is_refused(digits, size):
    with pytest.raises(ValueError, match=f"train_size needs 10 .* to 500 images; got {size}"):
        digits.subset(size, seed=0)


@pytest.fixture
def data():
    """Images whose only pixel is their number, of 3 classes with 30, 60 and 10 images; 20 test images."""
    labels = torch.tensor([0] * 30 + [1] * 60 + [2] * 10)
    number = torch.arange(120.0).reshape(-1, 1, 1, 1)
    return Data(Split(number[:100], labels), Split(number[100:], labels[:20]), ("a", "b", "c"))


def numbers(split):
    return {int(n) for n in split.images.flatten()}


def test_training_validation_and_test_images_are_disjoint_and_complete(data):
    held_out = data.without_test()
    assert numbers(held_out.train) | numbers(held_out.test) == set(range(100))
    assert not numbers(held_out.train) & numbers(held_out.test)
    assert not (numbers(held_out.train) | numbers(held_out.test)) & numbers(data.test)


def test_a_fifth_is_held_out_stratified(data):
    held_out = data.without_test()
    assert np.bincount(held_out.test.labels).tolist() == [6, 12, 2]
    assert np.bincount(held_out.train.labels).tolist() == [24, 48, 8]


def test_images_keep_their_labels(data):
    held_out = data.without_test()
    for split in (held_out.train, held_out.test):
        for number, label in zip(split.images.flatten(), split.labels, strict=True):
            assert data.train.labels[int(number)] == label


def test_the_same_images_are_held_out_every_time(data):
    assert numbers(data.without_test().test) == numbers(data.without_test().test)


def test_a_class_with_a_single_image_is_refused(data):
    one = replace(data, train=data.train.take(np.r_[0:91]))
    with pytest.raises(ValueError, match="evaluate='validation' needs two images or more of each class; got 1 of 'c'"):
        one.without_test()


def test_a_task_loads_the_images_that_evaluate_names():
    test, validation = load_data(DataSettings(), Judging()), load_data(DataSettings(), Judging(evaluate="validation"))
    assert (len(test.train), len(test.test)) == (500, 1297)
    assert (len(validation.train), len(validation.test)) == (400, 100)


def test_images_that_are_read_one_by_one_are_split_too(data):
    listed = replace(data, train=Split([f"image {n}" for n in range(100)], data.train.labels)).without_test()
    in_memory = data.without_test()
    assert list(listed.test.images) == [f"image {int(n)}" for n in in_memory.test.images.flatten()]
    assert len(listed.train) == 80
