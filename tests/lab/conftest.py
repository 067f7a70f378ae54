"""What tests of the lab share."""

from contextlib import suppress
from functools import cache

import pytest


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Reports have empty pictures, which take longer than all the rest, unless the test is marked `drawn`."""
    from torchmoments_lab.probe import report as of_probe
    from torchmoments_lab.report import classes, contents, shown
    from torchmoments_lab.report.drawing import Drawing
    from torchmoments_lab.sweep import report as of_sweep

    if not request.node.get_closest_marker("drawn"):
        for module in (classes, contents, shown, of_probe, of_sweep):
            monkeypatch.setattr(module, "draw", lambda name, figure: Drawing(b"", b"", "<svg></svg>"))


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
