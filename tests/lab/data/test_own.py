"""A user's own data: tensors, Datasets, and functions that are named."""

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from torchmoments.lab.config import TrainConfig
from torchmoments.lab.data import load
from torchmoments.lab.data.own import from_objects


def tensors(number=12, classes=3):
    return torch.randn(number, 1, 8, 8), torch.arange(number) % classes


class Items(Dataset):
    """Items alone, as a user may write it."""

    def __init__(self, number=12):
        self.images, self.labels = tensors(number)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


class WithTargets(Items):
    targets = tuple(range(3)) * 4
    classes = ("cat", "dog", "owl")


def test_tensors_and_tensor_datasets_stay_in_memory():
    for pair in (tensors(), TensorDataset(*tensors())):
        data = from_objects(pair, pair)
        assert isinstance(data.train.images, torch.Tensor)
        assert data.is_normalized
        assert data.classes == ("0", "1", "2")


def test_labels_come_from_targets_or_item_by_item(monkeypatch):
    assert from_objects(Items(), Items(3)).test.labels.tolist() == [0, 1, 2]
    assert from_objects(Items(), Subset(Items(), [3, 7, 2])).test.labels.tolist() == [0, 1, 2]
    # From here on the first image may be looked at, to see what it is; nothing else.
    get, asked = WithTargets.__getitem__, []
    monkeypatch.setattr(WithTargets, "__getitem__", lambda self, index: asked.append(index) or get(self, index))
    data = from_objects(WithTargets(), Subset(WithTargets(), [3, 7, 2]))
    assert data.classes == ("cat", "dog", "owl")
    assert data.train.labels.tolist() == [0, 1, 2] * 4
    assert data.test.labels.tolist() == [0, 1, 2]
    assert asked == [0]


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ([1, 2, 3], "train needs items"),
        (3, "train needs a torch Dataset with a length, or .*; got int"),
        ((torch.randn(4, 1, 8, 8), torch.arange(3)), "one whole label from 0 up for each of its 4 images"),
        ((torch.randn(4, 1, 8, 8), torch.rand(4)), "one whole label .*got torch.float32"),
        ((torch.randn(4, 1, 8, 8), torch.tensor([0, 1, -1, 1])), "one whole label"),
        ((torch.randn(4, 1, 8, 8), torch.tensor([0, 0, 2, 2])), "labels up to 2 without 1"),
        ((torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)), "two classes or more"),
        ((torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4) % 2), "floating point tensors .*got torch.uint8"),
        ((torch.full((4, 1, 8, 8), float("nan")), torch.arange(4) % 2), "finite"),
    ],
)
def test_objects_that_are_no_data_are_refused(train, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_objects(train, (torch.randn(2, 1, 8, 8), torch.tensor([0, 1])))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A file in the current directory, as a user has it; gives the name of its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"] + [path for path in __import__("sys").path if path])
    name = f"mydata_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import torch\n"
        "def make_data():\n"
        "    return (torch.randn(12, 1, 8, 8), torch.arange(12) % 3), (torch.randn(6, 1, 8, 8), torch.arange(6) % 3)\n"
        "def broken():\n"
        "    raise KeyError('mine')\n"
        "def other():\n"
        "    return 3\n"
    )
    return name


def test_a_function_in_the_current_directory_is_found(module):
    data = load(TrainConfig(data=f"{module}:make_data"))
    assert (len(data.train), len(data.test)) == (12, 6)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("make_dat", "needs a function in .*; got 'make_dat'. Nearest: 'make_data'"),
        ("broken", r"to run without arguments; got KeyError: 'mine'"),
        ("other", r"to give \(train, test\); got int"),
    ],
)
def test_a_function_that_gives_no_data_is_refused(module, function, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(TrainConfig(data=f"{module}:{function}"))


def test_a_module_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="needs a module that can be imported; got 'no_such:make_data'"):
        load(TrainConfig(data="no_such:make_data"))
