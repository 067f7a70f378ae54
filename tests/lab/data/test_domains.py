"""Folders of domains, test images that come from elsewhere, and partners of other domains."""

import numpy as np
import pytest
import torch
from PIL import Image

from torchmoments_lab.comparison import compare
from torchmoments_lab.data import load
from torchmoments_lab.data.describe import facts, sentences
from torchmoments_lab.requests import Compare
from torchmoments_lab.settings import DataSettings
from torchmoments_lab.training.train import Training


@pytest.fixture
def pictures(tmp_path):
    """Two domains, dark and bright, of two classes."""
    random = np.random.default_rng(0)
    for domain, shade in (("google", 60), ("twitter", 180)):
        for kind, number in (("cat", 10), ("dog", 15)):
            folder = tmp_path / "pictures" / domain / kind
            folder.mkdir(parents=True)
            for index in range(number):
                values = random.integers(shade, shade + 60, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"{index}.png")
    return tmp_path / "pictures"


def data_of(kind, path, **more):
    settings = DataSettings(data=f"{kind}:{path}", **more)
    settings.check()
    return load(settings)


def folders_of(split):
    """The number of images in each folder."""
    paths = [split.images.images.paths[place] for place in split.images.places]
    names, counts = np.unique([f"{path.parts[-3]}/{path.parts[-2]}" for path in paths], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def test_a_fifth_of_each_class_of_each_domain_is_held_out(pictures):
    data = data_of("domains", pictures)
    assert (data.classes, data.domains) == (("cat", "dog"), ("google", "twitter"))
    assert folders_of(data.test) == {"google/cat": 2, "google/dog": 3, "twitter/cat": 2, "twitter/dog": 3}
    of_domain = [data.domains[domain] for domain in data.train.domains]
    paths = [data.train.images.images.paths[place] for place in data.train.images.places]
    assert of_domain == [path.parts[-3] for path in paths]
    assert [data.classes[label] for label in data.train.labels] == [path.parts[-2] for path in paths]
    assert "Domains of the training images: google 20, twitter 20." in sentences(data, "test")


def test_a_domain_that_is_the_test_is_left_out_of_training(pictures):
    (pictures / "apple").symlink_to(pictures / "google")
    data = data_of("domains", pictures, test_data=f"folder:{pictures / 'twitter'}")
    assert data.domains == ("apple", "google")
    assert folders_of(data.test) == {"twitter/cat": 10, "twitter/dog": 15}
    assert "twitter/cat" not in folders_of(data.train)


def test_one_domain_that_is_left_is_no_group(pictures):
    data = data_of("domains", pictures, test_data=f"folder:{pictures / 'twitter'}")
    assert (data.domains, data.train.domains) == ((), None)
    assert folders_of(data.train) == {"google/cat": 10, "google/dog": 15}


def test_test_images_from_elsewhere_take_the_place_of_those_held_out(pictures):
    data = data_of("folder", pictures / "google", test_data=f"folder:{pictures / 'twitter'}")
    assert folders_of(data.train) == {"google/cat": 10, "google/dog": 15}
    assert folders_of(data.test) == {"twitter/cat": 10, "twitter/dog": 15}
    assert data.remarks == (f"Test images are those of '{pictures / 'twitter'}'.",)


def test_of_folders_with_parts_training_is_of_one_and_the_test_of_the_other(tmp_path, pictures):
    for name in ("one", "two"):
        for part, domain in (("train", "google"), ("test", "twitter")):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / part).symlink_to(pictures / domain)
    data = data_of("folder", tmp_path / "one", test_data=f"folder:{tmp_path / 'two'}")
    assert (len(data.train), len(data.test)) == (25, 25)
    words = f"Test images are those of '{tmp_path / 'two'}', its test part; the test images of --data are not used."
    assert data.remarks == (words,)


def test_domains_are_part_of_the_record(pictures):
    first = dict(facts(data_of("domains", pictures)))
    assert first["domains"] == "google 20, twitter 20"
    (pictures / "google").rename(pictures / "zoo")
    other = dict(facts(data_of("domains", pictures)))
    assert (first["images"], first["pixels"]) != (other["images"], other["pixels"])


@pytest.mark.parametrize(
    ("data", "test", "sentence"),
    [
        ("domains:pictures/google", None, "data needs a folder for each class"),
        ("domains:one", None, "data needs two domains or more"),
        ("domains:uneven", None, "domains need the same classes; 'uneven/b' has no 'dog'"),
        ("folder:pictures", None, "Write domains:pictures if they are domains"),
        ("folder:pictures/google", "folder:no", "test_data needs a folder of images; got 'no', which does not exist"),
        ("folder:pictures/google", "folder:", "test_data needs a folder of images; got none"),
        ("folder:pictures/google", "digits", "test_data needs folder:PATH; got 'digits'"),
        ("folder:pictures/google", "folder:birds", "test_data needs classes that training has too; got 'bird'"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, pictures, monkeypatch, data, test, sentence):
    monkeypatch.chdir(tmp_path)
    google = pictures / "google"
    links = {
        "one": {"google": google},
        "uneven/a": {"cat": google / "cat", "dog": google / "dog"},
        "uneven/b": {"cat": google / "cat", "cat2": google / "cat"},
        "birds": {"cat": google / "cat", "bird": google / "dog"},
    }
    for folder, names in links.items():
        (tmp_path / folder).mkdir(parents=True)
        for name, target in names.items():
            (tmp_path / folder / name).symlink_to(target)
    (tmp_path / "uneven" / "a" / "cat2").symlink_to(google / "cat")
    with pytest.raises(ValueError, match=sentence):
        data_of(*data.split(":"), test_data=test)


def test_data_that_bring_their_own_test_images_take_no_others():
    with pytest.raises(ValueError, match="test_data is for data in folders; got --data digits"):
        DataSettings(data="digits", test_data="folder:pictures").check()


@pytest.mark.slow
def test_partners_are_of_another_domain_if_there_are_domains(pictures, tmp_path, monkeypatch):
    """And not of another class, as they are without domains."""
    seen = []
    groups = Training._groups

    def spy(self, index, y):
        found = groups(self, index, y)
        seen.append((found, self.images.domains[index], y))
        return found

    monkeypatch.setattr(Training, "_groups", spy)
    request = Compare().with_values(
        data=f"domains:{pictures}",
        methods=("moex:partner=other-group,p=1",),
        seeds=1,
        epochs=1,
        width=4,
        image_size=16,
        batch_size=10,
        workers=1,
        out=tmp_path / "out",
    )
    compare(request)
    assert seen
    assert all(torch.equal(found, domains) for found, domains, _ in seen)
    assert not any(torch.equal(found, y) for found, _, y in seen)
