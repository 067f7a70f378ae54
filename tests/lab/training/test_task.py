"""What of a task goes to another process."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.config import TrainConfig
from torchmoments_lab.data import folder
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.prepare import prepare
from torchmoments_lab.training import task as task_module
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.task import Task


def test_data_in_memory_go_to_another_process():
    split = Split(torch.rand(6, 1, 4, 4), torch.arange(6) % 2)
    task = Task(TrainConfig(), data=Data(split, split, ("a", "b")), facts=(("images", "6 + 6"),))
    there = pickle.loads(pickle.dumps(task))
    assert there.data.train.images.equal(split.images)
    assert (there.config, there.facts) == (task.config, task.facts)
    assert task.load() is task.data


def test_another_process_takes_over_what_was_seen_of_a_folder_and_reads_only_what_it_trains_on(tmp_path, monkeypatch):
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for index in range(10):
            values = np.full((9, 9), 100 * number + 60 * index, np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{index}.png")
    task = prepare(TrainConfig(data=f"folder:{tmp_path}", width=4), ["none"])
    # What another process would have to do without it.
    monkeypatch.setattr(folder, "see_picture", None)
    monkeypatch.setattr(task_module, "load", None)
    there = pickle.loads(pickle.dumps(task))
    batches = [
        next(Feed(t.load(), t.build(t.load()).input, t.config, torch.device("cpu")).test()) for t in (task, there)
    ]
    assert batches[0].equal(batches[1])
    assert there.load().levels == task.load().levels


@pytest.mark.parametrize(
    ("shape", "repair"), [((28, 28), "images[:, None] if they are grey"), ((2, 3, 4, 5), "--model")]
)
def test_images_that_small_cannot_take_are_told_before_it_runs(shape, repair):
    split = Split(torch.rand(6, *shape), torch.arange(6) % 2)
    data = Data(split, split, ("a", "b"), is_normalized=True)
    with pytest.raises(ValueError, match="model 'small' needs images") as caught:
        Task(TrainConfig(), data=data).build(data)
    assert repair in str(caught.value)
