"""docs/programs.md: the lines to add, executed in a small program that has the names they need."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm

TEXT = (Path(__file__).parent.parent / "docs" / "programs.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
X = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 5
PIXELS = (torch.arange(8 * 5 * 5) % 7 % 5).reshape(8, 5, 5).index_fill(1, torch.tensor(0), 255)


def lines(section: str) -> list[str]:
    """The added lines of each block of a section."""
    blocks = re.findall(r"^```diff\n(.*?)^```", SECTIONS[section], re.DOTALL | re.MULTILINE)
    assert all(line[:2] == " #" or line[0] == "+" for block in blocks for line in block.splitlines())
    return ["\n".join(line[1:] for line in block.splitlines() if line[0] == "+") for block in blocks]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.maxpool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor, change: Callable[[Tensor], Tensor] = lambda h: h) -> Tensor:
        return self.fc(change(self.maxpool(self.stem(x))).mean((2, 3)))


class Dense(nn.Module):
    """Scores of each pixel, in a dict with a second head, as torchvision's segmentation models have them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3), "maxpool": nn.MaxPool2d(2)})
        self.out, self.aux = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor, change: Callable[[Tensor], Tensor] = lambda h: h) -> dict[str, Tensor]:
        h = change(self.backbone["maxpool"](self.backbone["conv"](x)))
        return {"out": self.out(h), "aux": self.aux(h)}


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind()


def of_dict(output: dict[str, Tensor], target: Tensor) -> Tensor:
    out, aux = (F.cross_entropy(output[name], target, ignore_index=255) for name in ("out", "aux"))
    return out + 0.5 * aux


def check_steps(model: nn.Module, criterion: nn.Module, names: dict, target: Tensor, plain: Callable) -> int:
    """Train, and compare each step with one by hand; returns how many were mixed."""
    mixed, (place,) = 0, names["site"].places
    for _ in range(8):
        model.zero_grad()
        step = criterion(model(X), target)
        plan, twin = names["site"].plan, made(type(model))
        step.backward()
        if plan is None:
            loss = plain(twin(X), target)
        else:
            partner = plan.draws[place].partner
            output = twin(X, lambda h, partner=partner: tm.exchange(h, partner))
            loss = 0.9 * plain(output, target) + 0.1 * plain(output, target[partner])
            mixed += 1
        loss.backward()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    return mixed


@pytest.mark.parametrize(
    ("section", "name", "loader"),
    [("timm: train.py", "train_loss_fn", "loader_train"), ("torchvision: classification", "criterion", "data_loader")],
)
def test_classification_programs_train_and_resume_as_by_hand(section, name, loader):
    attach, resume = lines(section)
    model = made(Net)
    names = {"model": model, "args": SimpleNamespace(seed=0, start_epoch=2), name: nn.CrossEntropyLoss()}
    exec(attach, names)
    assert 0 < check_steps(model, names[name], names, Y, F.cross_entropy) < 8
    model.eval()
    assert torch.equal(names[name](model(X), Y), F.cross_entropy(model(X), Y))
    state = names["site"].state_dict()
    exec(resume, {**names, "start_epoch": 2, loader: range(4)})
    assert names["site"].state_dict() == state


def test_segmentation_program_trains_as_by_hand():
    (code,) = lines("torchvision: segmentation")
    model, steps = made(Dense), []

    def train_one_epoch(model: nn.Module, criterion: nn.Module, *rest: object) -> None:
        steps.append(check_steps(model, criterion, names, PIXELS, of_dict))

    names = {"model": model, "criterion": of_dict, "train_one_epoch": train_one_epoch}
    exec(code, names)
    assert 0 < steps[0] < 8


def test_a_place_that_a_checkpointed_model_goes_around_is_an_error():
    model = made(Dense)
    tm.attach(model, tm.MoEx(p=1), at="backbone")
    with pytest.raises(RuntimeError, match="'backbone', which did not run"):
        model(X)


def test_every_program_has_a_test():
    source = Path(__file__).read_text()
    assert [section for section in SECTIONS if f'"{section}"' not in source] == []
