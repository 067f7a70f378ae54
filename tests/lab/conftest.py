"""What tests of the lab share."""

from contextlib import suppress
from functools import cache

import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have empty pictures: drawing takes longer than all the rest, and what tests with this read has none."""
    from torchmoments_lab.probe import report as of_probe
    from torchmoments_lab.report import classes, contents, shown
    from torchmoments_lab.report.drawing import Drawing
    from torchmoments_lab.sweep import report as of_sweep

    for module in (classes, contents, shown, of_probe, of_sweep):
        monkeypatch.setattr(module, "draw", lambda name, figure: Drawing(b"", b"", "<svg></svg>"))


# Tests of what a command says of the time that it will take.
OF_TIME = ("test_forecast", "test_timing")


@pytest.fixture(autouse=True)
def brief(request, monkeypatch):
    """Digits are read once, and only tests of the forecast measure how long a command will take, by one step."""
    from torchmoments_lab.training import timing

    monkeypatch.setattr(timing, "MOST_STEPS", 1)
    if request.module.__name__.rpartition(".")[2] not in OF_TIME:
        monkeypatch.setattr(timing, "_cost", lambda *_: timing.Cost(1e-3, 1e-5))
    with suppress(ImportError):
        monkeypatch.setattr("sklearn.datasets.load_digits", _digits())


@cache
def _digits():
    from sklearn.datasets import load_digits

    return cache(load_digits)
