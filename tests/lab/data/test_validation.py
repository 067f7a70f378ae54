"""The validation images: part of the training images, the same for every run, and never test images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.training.task import Task


@pytest.fixture
def data():
    """Images whose only pixel is their number, of 3 classes with 30, 60 and 10 images; 20 test images."""
    labels = torch.tensor([0] * 30 + [1] * 60 + [2] * 10)
    number = torch.arange(120.0).reshape(-1, 1, 1, 1)
    return Data(Split(number[:100], labels), Split(number[100:], labels[:20]), ("a", "b", "c"))


def numbers(split):
    return {int(n) for n in split.images.flatten()}


def test_pool_validation_and_test_images_are_disjoint_and_complete(data):
    held_out = data.without_test()
    assert numbers(held_out.train) | numbers(held_out.test) == set(range(100))
    assert not numbers(held_out.train) & numbers(held_out.test)
    assert not (numbers(held_out.train) | numbers(held_out.test)) & numbers(data.test)


def test_a_fifth_is_held_out_every_class_in_its_share(data):
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
    with pytest.raises(ValueError, match="two training images of each class; got 1 of class 'c'"):
        one.without_test()


def test_a_task_loads_the_images_that_evaluate_names():
    test, validation = Task(TrainConfig()).load(), Task(TrainConfig(evaluate="validation")).load()
    assert (len(test.train), len(test.test)) == (1437, 360)
    assert (len(validation.train), len(validation.test)) == (1150, 287)


def test_images_that_are_read_one_by_one_are_split_too(data):
    listed = replace(data, train=Split([f"image {n}" for n in range(100)], data.train.labels)).without_test()
    in_memory = data.without_test()
    assert list(listed.test.images) == [f"image {int(n)}" for n in in_memory.test.images.flatten()]
    assert len(listed.train) == 80
