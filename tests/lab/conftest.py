"""What tests of the lab share."""

import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have empty pictures: drawing takes longer than all the rest, and what tests with this read has none."""
    from torchmoments_lab.report import classes, contents, shown
    from torchmoments_lab.report.drawing import Drawing

    for module in (classes, contents, shown):
        monkeypatch.setattr(module, "draw", lambda name, figure: Drawing(b"", b"", "<svg></svg>"))
