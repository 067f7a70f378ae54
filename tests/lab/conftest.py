"""What tests of the lab share."""

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
