"""A user's own data: arrays, Datasets, and functions that are named."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split

from torchmoments_lab.data import load
from torchmoments_lab.data.dataset import made_once
from torchmoments_lab.data.describe import facts
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.settings import DataSettings


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


class Relabelled(Items):
    """As torchvision's: `targets` and `classes` know nothing of the transform of the labels."""

    targets = tuple(range(6)) * 2
    classes = ("cat", "dog", "owl", "bus", "car", "van")
    target_transform = staticmethod(lambda label: label // 3)

    def __getitem__(self, index):
        return self.images[index], self.target_transform(self.targets[index])


def test_arrays_and_tensor_datasets_stay_in_memory():
    images, labels = tensors()
    for pair in ((images, labels), TensorDataset(images, labels), [images.numpy(), labels.tolist()]):
        data = from_objects(pair, pair)
        assert data.train.images.equal(images)
        assert data.train.labels.equal(labels)
        assert data.is_normalized
        assert data.classes == ("0", "1", "2")


def test_a_tensor_dataset_that_gives_other_items_is_read_by_its_items():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 2 * image, 1 - label

    images = torch.randn(4, 1, 8, 8)
    data = from_objects(Doubled(images, torch.tensor([0, 1, 1, 0])), (images, torch.tensor([0, 1, 1, 0])))
    assert data.train.images[3].equal(2 * images[3])
    assert data.train.labels.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda dataset: dataset,
        lambda dataset: Subset(dataset, range(len(dataset))),
        lambda dataset: Subset(Subset(dataset, range(len(dataset))), range(len(dataset))),
        lambda dataset: ConcatDataset([dataset, dataset]),
        lambda dataset: random_split(dataset, [8, 4])[0],
    ],
)
def test_the_label_that_an_item_gives_counts_and_not_its_targets(wrap):
    given = wrap(Relabelled())
    data = from_objects(given, Relabelled())
    assert data.train.labels.tolist() == [given[index][1] for index in range(len(given))]
    assert data.classes == ("0", "1")


def test_classes_have_the_names_that_the_dataset_knows():
    class Named(Items):
        classes = ("cat", "dog", "owl")

    assert from_objects(Named(), Items()).classes == ("cat", "dog", "owl")
    assert from_objects(Subset(Subset(Named(), range(9)), range(6)), Items()).classes == ("cat", "dog", "owl")
    assert from_objects(Items(), Named()).classes == ("0", "1", "2")

    class Swapped(Named):
        target_transform = staticmethod(lambda label: 2 - label)

        def __getitem__(self, index):
            return self.images[index], self.target_transform(int(self.labels[index]))

    assert from_objects(Swapped(), Items()).classes == ("0", "1", "2")


class Dicts(list):
    """As Hugging Face's data sets: rows by number, and names of the labels."""

    class Label:
        names = ("cat", "dog")

    features = {"label": Label, "fine": None}  # noqa: RUF012


def rows(**more):
    return Dicts({"image": Image.new("L", (9, 8), 20 * n), "label": n % 2, "note": "mine", **more} for n in range(6))


def test_dicts_with_one_image_and_one_label_are_taken():
    data = from_objects(rows(), rows())
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1] * 3
    assert data.train.images[2].getpixel((0, 0)) == 40
    assert from_objects(rows(id=7), rows()).train.labels.tolist() == [0, 1] * 3
    tensors = Dicts({"pixel_values": torch.randn(3, 8, 8), "labels": torch.tensor(n % 2)} for n in range(6))
    assert from_objects(tensors, tensors).shape == (3, 8, 8)


def test_dicts_that_may_mean_several_things_are_refused():
    with pytest.raises(
        ValueError, match="one image and one whole label; got a dict of 'image', 'label', 'note', 'mask'"
    ):
        from_objects(rows(mask=Image.new("L", (9, 8))), rows())
    several = Dicts({"img": Image.new("L", (9, 8)), "fine": 0, "coarse": 1} for _ in range(4))
    with pytest.raises(ValueError, match="got a dict of 'img', 'fine', 'coarse'. Give tuples"):
        from_objects(several, several)
    unlike = [*rows(), {"picture": Image.new("L", (9, 8))}]
    with pytest.raises(ValueError, match="can be read, all like item 0; item 6 raised KeyError: 'image'"):
        from_objects(unlike, rows())


FOUR = torch.arange(4) % 2


def nan_in(index):
    images = torch.zeros(4, 1, 8, 8)
    images[index, 0, 3, 3] = float("nan")
    return images


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ([1, 2, 3], "train needs items"),
        ([], "train needs images; got an empty list"),
        (3, "train needs a torch Dataset with a length, or .*; got int"),
        ((torch.randn(4, 1, 8, 8), torch.arange(3)), r"one whole label .* its 4 images; got labels of shape \[3\]"),
        ((torch.randn(4, 1, 8, 8), FOUR[:, None]), r"one whole label .* its 4 images; got labels of shape \[4, 1\]"),
        (
            (torch.randn(4, 1, 8, 8), torch.tensor([0.0, 0.5, 1.0, 1.0])),
            r"one whole label .* item 0 has 0.0. .* if it is",
        ),
        ((torch.randn(4, 1, 8, 8), torch.tensor([0, 1, -1, 1])), "one whole label .* item 2 has -1"),
        ((torch.randn(4, 1, 8, 8), ["cat", "dog", "cat", "dog"]), "item 0 has 'cat'. Number the classes"),
        ((torch.randn(4, 1, 8, 8), torch.tensor([0, 0, 2, 2])), "labels up to 2 without 1"),
        ((torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2**62, 1])), f"labels up to {2**62} without 2."),
        ((torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)), "two classes or more"),
        ((nan_in(2), FOUR), "1 of its 4 images have others, item 2 is the first"),
        ((torch.full((4, 1, 8, 8), 1e300, dtype=torch.float64), FOUR), "finite numbers; 4 of its 4"),
        (
            (torch.randn(4, 32, 32, 3), FOUR),
            r"channels are needed first.* got \[32, 32, 3\]. Write images.movedim\(-1, -3\)",
        ),
        ((np.zeros((4, 28, 28, 1)), FOUR), r"got \[28, 28, 1\]. Write numpy.moveaxis\(images, -1, -3\)"),
        ((torch.zeros(4, 1, 8, 8, dtype=torch.complex64), FOUR), "real numbers are needed; got torch.complex64"),
        ((torch.zeros(4, 7, 8, 8, dtype=torch.uint8), FOUR), r"1, 3 or 4 channels; got \[7, 8, 8\]"),
        (
            (np.array([np.zeros((3, 8, 8)), np.zeros((1, 9, 9))], object), [0, 1]),
            r"all images of one shape; got object \[2\]. Give a Dataset of PIL images",
        ),
        ((np.full((4, 8, 8), "x"), FOUR), "numbers are needed"),
        ((torch.tensor(3.0), [0]), r"numbers \[N, C, H, W\], all .* got torch.float32 \[\]"),
        ((torch.zeros(0, 1, 8, 8, dtype=torch.uint8), []), r"got torch.uint8 \[0, 1, 8, 8\]"),
        ((np.zeros((4, 8, 8, 4), np.uint16), FOUR), "train needs images .* need 1 or 3 channels; got 4"),
        ((torch.randn(4), FOUR), r"numbers \[N, C, H, W\], all .* got torch.float32 \[4\]"),
        ([(torch.randn(1, 8, 8), 0.5)] * 4, r"item 0 has 0.5. Give int\(label\) if it is whole"),
        ([(torch.randn(1, 8, 8), torch.tensor(0.7))] * 4, "item 0 has tensor"),
        ([(torch.randn(1, 8, 8), "cat")] * 4, "item 0 has 'cat'. Number the classes"),
        ([(torch.randn(1, 8, 8), torch.tensor([0, 1]))] * 4, r"item 0 has tensor\(\[0, 1\]\)"),
        ([(torch.randn(1, 8, 8), None)] * 4, "item 0 has None. Give an int"),
        ([(nan_in(2)[index], 0) for index in range(4)], "1 of its 4 images have others, item 2 is the first"),
        ([(torch.randn(32, 32, 3), 0)] * 4, r"item 0: channels are needed first"),
        ([("cat.png", 0)] * 4, "item 0: PIL images, tensors or arrays are needed; got str"),
        (
            [(torch.randn(1, 8, size), size % 2) for size in (8, 9)],
            r"one shape, .* \[1, 8, 8\] and, as item 1, \[1, 8, 9\]",
        ),
        ([(torch.randn(1, 8, 8), 0), (Image.new("L", (8, 8)), 1)], r"\[1, 8, 8\] and, as item 1, a picture"),
        ((torch.randn(4, 1, 9, 9), FOUR), r"images of one kind; got \[1, 9, 9\] and \[1, 8, 8\]"),
        ((torch.zeros(4, 1, 8, 8, dtype=torch.uint8), FOUR), r"images of one kind; got pictures and \[1, 8, 8\]"),
    ],
)
def test_objects_that_are_no_data_are_refused(train, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        from_objects(train, (torch.randn(2, 1, 8, 8), torch.tensor([0, 1])))
    assert str(caught.value).count("\n") == 0


def test_an_item_that_cannot_be_read_is_named():
    class Broken(Items):
        def __getitem__(self, index):
            if index == 7:
                raise OSError("no such file: 7.png")
            return super().__getitem__(index)

    with pytest.raises(
        ValueError, match="train needs 12 items that can be read, .*; item 7 raised OSError: no such file"
    ):
        from_objects(Broken(), Items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floating_point_of_any_size_becomes_float32(dtype):
    images, labels = tensors()
    for given in ((images.to(dtype), labels), [(image.to(dtype), int(label)) for image, label in zip(images, labels)]):  # noqa: B905
        data = from_objects(given, given)
        assert data.is_normalized
        assert data.shape == (1, 8, 8)
    assert from_objects((images.to(dtype), labels), (images.to(dtype), labels)).train.images.dtype == torch.float32


def digest(train, test=None):
    return dict(facts(from_objects(train, Items() if test is None else test)))["images"]


class Noisy(Items):
    """A transform that draws from the random numbers of torch, NumPy and Python."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.images = torch.arange(12.0).view(-1, 1, 1, 1).expand(-1, 1, 8, 8) + shift

    def __getitem__(self, index):
        noise = torch.rand(()).item() + np.random.rand() + random.random()
        return self.images[index] + noise, int(self.labels[index])


class NoisyByItself(Noisy):
    def __getitem__(self, index):
        return self.images[index] + np.random.default_rng().random(), int(self.labels[index])


def test_contents_and_labels_are_part_of_the_record():
    items = Items()
    before = digest(items, items)
    assert digest(items, items) == before
    items.images[5, 0, 2, 3] += 0.5
    assert digest(items, items) != before
    images, labels = tensors(), torch.arange(12) % 3
    assert digest((images[0], labels)) != digest((images[0], labels.flip(0)))
    assert digest((images[0], labels)) != digest((images[0].flip(0), labels.flip(0)))


def test_transforms_that_draw_do_not_make_other_data():
    state = torch.get_rng_state(), random.getstate()
    test = Items()
    before = digest(Noisy(), test)
    torch.rand(3)
    assert digest(Noisy(), test) == before
    assert digest(Noisy(shift=1), test) != before
    torch.set_rng_state(state[0])
    random.setstate(state[1])


def test_images_that_nobody_can_repeat_are_told_and_make_no_other_data():
    test = Items()
    data = from_objects(NoisyByItself(), test)
    assert data.remarks[0].startswith("The images of train differ each time they are read")
    assert facts(from_objects(NoisyByItself(), test)) == facts(data)
    other = NoisyByItself()
    other.labels = other.labels.flip(0)
    assert digest(other, test) != dict(facts(data))["images"]
    assert from_objects(Noisy(), test).remarks == ()


def test_an_item_whose_label_changed_since_the_check_is_refused():
    items = Items()
    data = from_objects(items, Items())
    items.labels = items.labels.flip(0)
    with pytest.raises(ValueError, match="keep their labels; item 0 had 0 when the data were checked, and has 2 now"):
        data.train.images[0]


def test_labels_that_are_drawn_at_each_read_are_refused():
    class Guessed(Items):
        def __getitem__(self, index):
            return self.images[index], int(torch.randint(3, ()))

    with pytest.raises(ValueError, match="labels that stay; item 0 gave"):
        from_objects(Items(), Guessed())


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A file in the current directory, as a user has it; gives the name of its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"] + [path for path in __import__("sys").path if path])
    name = f"mydata_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import threading\n"
        "import torch\n"
        "from torch.utils.data import Dataset, random_split\n"
        "def make_data():\n"
        "    return (torch.randn(12, 1, 8, 8), torch.arange(12) % 3), (torch.randn(6, 1, 8, 8), torch.arange(6) % 3)\n"
        "class Open(Dataset):\n"
        "    file = property(lambda self: self.lock)\n"
        "    def __init__(self):\n"
        "        self.lock = threading.Lock()\n"
        "    def __len__(self):\n"
        "        return 30\n"
        "    def __getitem__(self, index):\n"
        "        return torch.full((1, 8, 8), float(index)), index % 3\n"
        "def split():\n"
        "    return random_split(Open(), [20, 10])\n"
        "def broken():\n"
        "    raise KeyError('mine')\n"
        "def other():\n"
        "    return 3\n"
    )
    yield name
    made_once.cache_clear()


def test_a_function_in_the_current_directory_is_found(module):
    data = load(DataSettings(data=f"{module}:make_data"))
    assert (len(data.train), len(data.test)) == (12, 6)


def test_what_a_function_draws_is_the_same_each_time_and_leaves_the_stream(module):
    config = DataSettings(data=f"{module}:make_data")
    before = torch.get_rng_state()
    first = load(config)
    torch.rand(5)
    assert load(config).train.images.equal(first.train.images)
    torch.set_rng_state(before)
    load(config)
    assert torch.get_rng_state().equal(before)


def test_another_process_makes_a_dataset_anew_with_the_same_split(module):
    data = load(DataSettings(data=f"{module}:split"))
    torch.rand(7)
    there = pickle.loads(pickle.dumps(data))
    assert there.train.images.dataset is not data.train.images.dataset
    for half, here in ((there.train, data.train), (there.test, data.test)):
        assert torch.stack(list(half.images)).equal(torch.stack(list(here.images)))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("make_dat", "needs a function in .*; got 'make_dat'. Nearest: 'make_data'"),
        ("broken", r"to run without arguments; got KeyError: 'mine'"),
        ("other", r"to return \(train, test\); got int"),
    ],
)
def test_a_function_that_gives_no_data_is_refused(module, function, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(DataSettings(data=f"{module}:{function}"))


def test_a_module_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="needs a module that can be imported; got 'no_such:make_data'"):
        load(DataSettings(data="no_such:make_data"))
