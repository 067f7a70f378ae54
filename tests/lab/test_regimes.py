"""The tables in the docs are those that were measured."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("start", ["fine-tuning", "scratch"])
def test_the_page_has_the_tables_of_the_study(start):
    measured = (ROOT / "results" / "regimes" / f"{start}.md").read_text().strip()
    assert measured in (ROOT / "docs" / "fine-tuning.md").read_text()
