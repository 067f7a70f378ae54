"""What of an experiment goes to another process, and the door that makes it."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from tests.lab.experiments import experiment
from torchmoments_lab import resolve as door
from torchmoments_lab.data import folder
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.requests import Compare
from torchmoments_lab.training.feed import Feed


def test_data_in_memory_go_to_another_process():
    split = Split(torch.rand(6, 1, 4, 4), torch.arange(6) % 2)
    here = experiment(data=Data(split, split, ("a", "b"))).with_facts(images="6 + 6")
    there = pickle.loads(pickle.dumps(here))
    assert there.data.train.images.equal(split.images)
    assert (there.training, there.shared) == (here.training, here.shared)


def test_another_process_takes_over_what_was_seen_of_a_folder_and_reads_only_what_it_trains_on(tmp_path, monkeypatch):
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for index in range(10):
            values = np.full((9, 9), 100 * number + 60 * index, np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{index}.png")
    asked = Compare().with_values(data=f"folder:{tmp_path}", width=4)
    here = door.resolve(asked, asked.judging, ["none"], notice=door.silent).experiment
    # What another process would have to do without it.
    monkeypatch.setattr(folder, "picture_record", None)
    monkeypatch.setattr(door, "load", None)
    there = pickle.loads(pickle.dumps(here))
    batches = [
        next(Feed(e.data, e.network.build().input, e.preprocessing, torch.device("cpu")).test()) for e in (here, there)
    ]
    assert batches[0].equal(batches[1])
    assert there.data.levels == here.data.levels


@pytest.mark.parametrize(
    ("shape", "repair"), [((28, 28), "images[:, None] if they are grey"), ((2, 3, 4, 5), "--model")]
)
def test_images_that_small_cannot_take_are_told_before_it_runs(shape, repair):
    split = Split(torch.rand(6, *shape), torch.arange(6) % 2)
    data = Data(split, split, ("a", "b"), is_normalized=True)
    with pytest.raises(ValueError, match="model 'small' needs images") as caught:
        experiment(data=data)
    assert repair in str(caught.value)
