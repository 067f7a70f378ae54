"""What of a task goes to another process."""

import pickle

import pytest
import torch

from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data.split import Data, Split
from torchmoments.lab.training.task import Task

IN_MEMORY, READ_WHEN_NEEDED = torch.rand(6, 1, 4, 4), ["image"] * 6


@pytest.mark.parametrize(
    ("name", "images", "goes"),
    [
        ("digits", IN_MEMORY, True),
        ("my:make_data", IN_MEMORY, True),
        ("my:make_data", READ_WHEN_NEEDED, False),
        ("folder:pictures", READ_WHEN_NEEDED, False),
        ("objects:Pictures", READ_WHEN_NEEDED, True),
    ],
)
def test_data_in_memory_and_data_without_a_name_go_to_another_process(name, images, goes):
    split = Split(images, torch.arange(6) % 2)
    task = Task(TrainConfig(data=name), data=Data(split, split, ("a", "b")), facts=(("images", "6 + 6"),))
    there = pickle.loads(pickle.dumps(task))
    assert (there.data is not None) == goes
    assert (there.config, there.facts) == (task.config, task.facts)
    assert task.load() is task.data
