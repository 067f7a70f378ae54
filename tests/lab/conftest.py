"""What tests of the lab share."""

from contextlib import suppress
from functools import cache

import pytest


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Figures are made but not written, which takes longer than all the rest, unless the test is marked `drawn`."""
    from torchmoments_lab.report import drawing

    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(drawing, "_saved", lambda figure, **options: b"<svg></svg>")


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """What a command will take is not measured. Tests of that have a fixture of this name, which measures."""
    from torchmoments_lab.training import timing

    monkeypatch.setattr(timing, "_cost", lambda *_: timing.Cost(1e-3, 1e-5))


@pytest.fixture(autouse=True)
def digits_once(monkeypatch):
    """Digits are the same each time, and are read once."""
    with suppress(ImportError):
        monkeypatch.setattr("sklearn.datasets.load_digits", _digits())


@cache
def _digits():
    from sklearn.datasets import load_digits

    return cache(load_digits)
