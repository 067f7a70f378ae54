"""Images on their way to the network, against the same done one image at a time."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

from tests.lab.experiments import experiment
from torchmoments_lab.data.folder import MEAN, STD
from torchmoments_lab.data.own import from_objects
from torchmoments_lab.data.split import Data, Split
from torchmoments_lab.models.built import Input
from torchmoments_lab.requests import Compare
from torchmoments_lab.settings import Preprocessing
from torchmoments_lab.training.augmentation import pad_crop_flip
from torchmoments_lab.training.feed import Feed

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pad_crop_flip_does_what_its_boxes_say():
    x = torch.randn(6, 3, 9, 11)
    boxes = torch.tensor([[4, 4, 0, 0], [4, 4, 1, 0], [0, 0, 0, 1], [8, 8, 0, 0], [0, 8, 1, 0], [3, 5, 1, 1]])
    for image, (top, left, mirrored, down), out in zip(x, boxes.tolist(), pad_crop_flip(x, boxes), strict=True):
        expected = F.pad(image, (4, 4, 4, 4))[:, top : top + 9, left : left + 11]
        assert out.equal(expected.flip([axis for axis, flip in ((2, mirrored), (1, down)) if flip]))


def bytes_in_memory(flips=True):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8))
    split = Split(images, torch.arange(40) % 4)
    return Data(split, split, tuple("abcd"), peak=255.0, mean=(0.3,), std=(0.2,), flips=flips)


def test_images_in_memory_are_normalized_repeated_and_resized():
    data = bytes_in_memory()
    wanted = Input(channels=3, size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), fixed_size=True)
    (x,) = Feed(data, wanted, Preprocessing(), CPU).test()
    raw = F.interpolate(data.test.images.float() / 255, (16, 16), mode="bilinear", antialias=True)
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)]):
        torch.testing.assert_close(x[:, channel], (raw[:, 0] - mean) / std)
    (own,) = Feed(data, Input(), Preprocessing(), CPU).test()
    torch.testing.assert_close(own, (data.test.images.float() / 255 - 0.3) / 0.2)


def test_shares_of_the_ranks_make_up_the_batch():
    feed = Feed(bytes_in_memory(), Input(), Preprocessing(augment=True), CPU)
    images = feed.subset(torch.arange(30))
    batches = [torch.arange(0, 13), torch.arange(13, 30)]
    whole = list(feed.training(images, batches, generator()))
    parts = [list(feed.training(images, batches, generator(), rank, 3)) for rank in range(3)]
    for number, (x, y) in enumerate(whole):
        assert torch.cat([part[number][0] for part in parts]).equal(x)
        assert torch.cat([part[number][1] for part in parts]).equal(y)
    assert not whole[0][0].equal(next(feed.training(images, batches, generator(1)))[0])


def test_where_a_mirrored_image_is_of_no_class_nothing_is_mirrored():
    ramp = torch.arange(8, dtype=torch.uint8).expand(20, 1, 8, 8).contiguous()
    for flips in (False, True):
        split = Split(ramp, torch.arange(20) % 4)
        feed = Feed(Data(split, split, tuple("abcd"), flips=flips), Input(), Preprocessing(augment=True), CPU)
        ((x, _),) = feed.training(feed.subset(torch.arange(20)), [torch.arange(20)], generator())
        # The ramp rises from pixel to pixel, and falls where it is mirrored.
        steps = x[:, 0].diff(dim=-1).sign().sum((1, 2))
        assert bool((steps < 0).any()) == flips
        assert bool((steps > 0).any())


class Random(torch.utils.data.Dataset):
    """Items with a transform of their own that draws from torch's random numbers."""

    targets = (0, 1, 2, 3) * 5

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((1, 6, 6), float(index)) + torch.rand(1, 6, 6), self.targets[index]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_of_a_users_data_are_paired_and_leave_the_stream_of_the_network(workers):
    data = from_objects(Random(), Random())
    feed = Feed(data, Input(), Preprocessing(loader_workers=workers), CPU)
    batches = [torch.tensor([3, 1, 4]), torch.tensor([0, 2])]
    images = feed.subset(torch.arange(5, 15))
    before = torch.get_rng_state()
    first, again = (list(feed.training(images, batches, generator())) for _ in range(2))
    assert torch.get_rng_state().equal(before)
    for (x, y), (same_x, same_y) in zip(first, again, strict=True):
        assert x.equal(same_x)
        assert y.equal(same_y)
    assert first[0][0].flatten(1).amin(1).int().tolist() == [8, 6, 9]
    assert first[0][1].tolist() == [0, 2, 1]
    other = next(feed.training(images, batches, generator(1)))
    assert not other[0].equal(first[0][0])


def test_pictures_of_a_users_data_are_treated_like_those_of_a_folder():
    class Pictures(Random):
        def __getitem__(self, index):
            return Image.new("L", (20 + index, 30), 255), self.targets[index]

    feed = Feed(from_objects(Pictures(), Pictures()), Input(size=16), Preprocessing(augment=True), CPU)
    ((x, _),) = feed.training(feed.subset(torch.arange(20)), [torch.arange(20)], generator())
    assert x.shape == (20, 3, 16, 16)
    torch.testing.assert_close(
        x[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


@pytest.mark.parametrize(("test_crop", "resized"), [(0.875, 32), (0.5, 56), (1.0, 28)])
def test_a_test_picture_is_resized_and_its_middle_cut_out(test_crop, resized):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))

    class Pictures(Random):
        def __getitem__(self, index):
            return picture, self.targets[index]

    feed = Feed(from_objects(Pictures(), Pictures()), Input(size=28), Preprocessing(test_crop=test_crop), CPU)
    edge = (resized - 28) // 2
    expected = picture.resize((resized, resized), Image.Resampling.BILINEAR).crop((edge, edge, edge + 28, edge + 28))
    pixels = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(next(feed.test())[0], (pixels - mean[:, None, None]) / std[:, None, None])


def test_a_cut_of_images_that_are_tensors_is_refused():
    with pytest.raises(ValueError, match="test_crop is for pictures; the images of the data are tensors. Leave it out"):
        Feed(bytes_in_memory(), Input(), Preprocessing(test_crop=0.875), CPU)


@pytest.mark.parametrize("part", [0.0, 1.1, float("nan")])
def test_a_cut_larger_than_the_picture_is_refused(part):
    with pytest.raises(ValueError, match="test_crop needs a part, above 0 and up to 1"):
        Preprocessing(test_crop=part).check()


def test_augmentation_of_what_is_no_image_is_refused():
    points = (torch.randn(8, 3, 20), torch.arange(8) % 2)
    feed = Feed(from_objects(points, points), Input(), Preprocessing(augment=True), CPU)
    with pytest.raises(ValueError, match=r"augment needs images \[C, H, W\]; got \[3, 20\]"):
        next(feed.training(feed.subset(torch.arange(8)), [torch.arange(8)], generator()))


class DrawsFromEverywhere(list):
    def __getitem__(self, index):
        return torch.tensor([[[torch.rand(()).item(), np.random.rand(), random.random()]]])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_random_numbers_of_any_library_differ_by_epoch_and_are_paired(workers):
    images, labels = DrawsFromEverywhere([0] * 8), torch.arange(8) % 2
    split = Split(images, labels)
    data = Data(split, split, ("a", "b"), is_normalized=True)
    feed = Feed(data, Input(), Preprocessing(loader_workers=workers), CPU)

    def epochs():
        stream, index = generator(), list(torch.arange(8).split(4))
        return [torch.cat([x for x, _ in feed.training(split, index, stream)]).flatten(1) for _ in range(2)]

    numpy_before, python_before = np.random.get_state()[1].copy(), random.getstate()
    one, again = epochs(), epochs()
    assert all(first.equal(second) for first, second in zip(one, again, strict=True))
    numbers = torch.cat(one)
    assert all(len(numbers[:, column].unique()) == len(numbers) for column in range(3))
    assert (np.random.get_state()[1] == numpy_before).all()
    assert random.getstate() == python_before


def test_a_dataset_of_tensors_of_one_channel_fits_the_network_small():
    items = [(torch.randn(1, 12, 12), index % 2) for index in range(8)]
    data = from_objects(items, items)
    found = experiment(Compare().with_values(width=4), data=data)
    built = found.network.build()
    x = Feed(data, built.input, found.preprocessing, CPU).example(2)
    assert built.module(x).shape == (2, 2)


@pytest.mark.parametrize("size", [(1, 65_000), (65_000, 1), (40, 4000)])
def test_a_picture_that_is_much_longer_than_wide_does_not_fill_the_memory(size):
    ramp = np.linspace(0, 255, max(size)).astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(ramp[:, None] if size[1] > size[0] else ramp, size[::-1]).copy())
    data = from_objects([(picture, 0), (picture, 1)], [(picture, 0)])
    feed = Feed(data, Input(size=16, fixed_size=True), Preprocessing(), CPU)
    sizes, resize = [], Image.Image.resize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Image.Image, "resize", lambda image, size, *a, **k: sizes.append(size) or resize(image, size, *a, **k)
        )
        (x,) = feed.test()
    assert x.shape == (1, 3, 16, 16)
    assert max(sizes[0]) <= 16 * 16
    # The middle of the ramp.
    assert abs(float(x.mean()) - float((127 / 255 - torch.tensor(MEAN)).div(torch.tensor(STD)).mean())) < 0.05


def test_of_a_usual_picture_nothing_is_cut_before_it_is_resized():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 300, 3), dtype=np.uint8))
    data = from_objects([(picture, 0), (picture, 1)], [(picture, 0)])
    (x,) = Feed(data, Input(size=16, fixed_size=True), Preprocessing(), CPU).test()
    expected = v2.functional.center_crop(v2.functional.resize(picture, [16]), [16, 16])
    pixels = torch.from_numpy(np.array(expected)).permute(2, 0, 1) / 255
    torch.testing.assert_close(x[0], (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))


def test_deep_pictures_beside_others_are_scaled_and_keep_small_differences():
    """Two classes 60 grey levels of 16 bits apart, and a picture of bytes before them."""
    pictures = [(np.full((9, 9), 255, np.uint8), 1)]
    pictures += [(np.full((9, 9), 30_000 + 60 * (index % 2), np.uint16), index % 2) for index in range(6)]
    data = from_objects(pictures, pictures)
    assert data.levels == (30_000, 30_060)
    for workers in (0, 1):
        wanted = Input(size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
        (x,) = Feed(data, wanted, Preprocessing(loader_workers=workers), CPU).test()
        torch.testing.assert_close(x.mean((1, 2, 3)), torch.tensor([1.0, 0, 1, 0, 1, 0, 1]))


def test_test_pictures_do_not_decide_how_deep_pictures_are_scaled():
    train = [(np.full((9, 9), 1000 + index, np.uint16), index % 2) for index in range(6)]
    test = [(np.full((9, 9), 1010, np.uint16), 0)]
    (x,) = Feed(from_objects(train, test), Input(mean=(0.0,) * 3, std=(1.0,) * 3), Preprocessing(), CPU).test()
    # Nothing is cut off either.
    assert float(x.mean()) == pytest.approx(2.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.dtype(">f4")])
def test_arrays_of_floating_point_of_any_kind_become_float32(dtype):
    items = [(np.full((1, 6, 6), index / 2, dtype), index % 2) for index in range(4)]
    (x,) = Feed(from_objects(items, items), Input(), Preprocessing(), CPU).test()
    assert x.dtype == torch.float32
    assert x[:, 0, 0, 0].tolist() == [0.0, 0.5, 1.0, 1.5]
