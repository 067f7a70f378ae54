"""The Python blocks of the README and the docs run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    # The recipes run in test_recipes.py, the guides to comparisons and to trained models in lab/test_guide.py and
    # lab/inference/test_use.py, Lightning and the Trainer in tests of their own. What the page to start with repeats of
    # these runs there, see test_website.py.
    elsewhere = ("recipes.md", "compare.md", "use.md", "lightning.md", "transformers.md")
    documents = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in elsewhere]
    tested = {block for name in elsewhere for block in BLOCK.findall((ROOT / "docs" / name).read_text())}
    # These are read from their start; the other pages are opened anywhere.
    whole = (ROOT / "README.md", ROOT / "docs" / "adding-a-method.md")
    return [(page.stem, "\n".join(BLOCK.findall(page.read_text()))) for page in whole] + [
        (f"{document.name}-{number}", block)
        for document in documents
        for number, block in enumerate(BLOCK.findall(document.read_text()), 1)
        if block not in tested and document not in whole
    ]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.maxpool(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize(("name", "block"), blocks(), ids=[name for name, _ in blocks()])
def test_block_runs_as_pasted(name, block):
    # The library alone is tested without them.
    for library in ("timm", "torchvision"):
        if f"from {library}" in block:
            pytest.importorskip(library)
    torch.manual_seed(0)
    model = Net()
    loader = [(torch.randn(8, 3, 16, 16), torch.randint(10, (8,))) for _ in range(3)]
    names = {
        "model": model,
        "loader": loader,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "x": loader[0][0],
        "y": loader[0][1],
    }
    exec(compile(block, name, "exec"), names)
