"""Data and networks of the studies, with small files in the place of the packages."""

import numpy as np
import pytest
import torch

import results.arrays as arrays
import results.networks as networks


@pytest.fixture
def surnames(monkeypatch):
    """Two languages, in files as those of the package; running one would fail."""
    files = {
        "de_AT": 'raise SystemExit\nclass Provider:\n    last_names = ("Müller", "Bauer", "Gruber", "von Berg", "Li")',
        "fi_FI": 'class Provider:\n    last_names = OrderedDict((("Mäkinen", 0.3), ("Bauer", 0.1), ("Aalto", 0.2)))',
    }
    monkeypatch.setattr(arrays, "_LOCALES", tuple(files))
    monkeypatch.setattr(arrays, "_file", lambda package, name: files[name.split("/")[-2]].encode())
    return files


def test_surnames_are_read_without_accents_and_those_of_two_languages_left_out(surnames):
    assert arrays._surnames("de_AT") == {"muller", "bauer", "gruber"}
    (train_x, train_y), (test_x, test_y) = arrays.names()
    x, y = np.concatenate([train_x, test_x]), np.concatenate([train_y, test_y])
    assert sorted(y.tolist()) == [0, 0, 1, 1]
    real = x[:, 0] > 0
    # muller, gruber, makinen, aalto
    assert sorted(real.sum(1).tolist()) == [5, 6, 6, 7]
    letters = x[:, 1:].argmax(1)
    words = {
        "".join(chr(ord("a") + letter) for letter in row[is_real]) for row, is_real in zip(letters, real, strict=True)
    }
    assert words == {"muller", "gruber", "makinen", "aalto"}


def test_what_follows_the_last_letter_changes_no_score():
    network = arrays.names_net(8).eval()
    x = torch.randn(2, 27, 16)
    x[:, 0] = torch.where(torch.arange(16) < 5, 1.0, -1.0)
    longer = x.clone()
    longer[:, 1:, 8:] = 7.0
    # The convolutions see a few positions further.
    torch.testing.assert_close(network(x), network(longer))
    assert network.padding_mask(x).sum(1).tolist() == [5, 5]


def test_the_network_of_the_paper_that_no_library_names():
    network = networks.wrn_16_4(10)
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    # 2.7 million in Zagoruyko and Komodakis.
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_748_602
