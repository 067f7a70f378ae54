"""Two processes: each mixes its own part of the batch, and the state of rank 0 resumes both."""

import copy
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4
STEPS = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stem(x).mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def part(rank: int) -> slice:
    return slice(4 * rank, 4 * rank + 4)


def train(rank: int, folder: str, wrapper: str) -> None:
    """Train with an automatic site, then with an explicit one; both are there before the group."""
    torch.set_num_threads(1)
    made = []
    for automatic in (True, False):
        model = net()
        made.append((model, tm.attach(model, tm.MoEx(p=0.7), at="stem", seed=3, automatic=automatic), automatic))
    torch.distributed.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=2)
    found = [train_one(rank, wrapper, *each) for each in made]
    torch.save(found, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    # Without taking gloo down: one rank may still use its threads when the other ends, which aborts now and then.
    os._exit(0)


def train_one(rank: int, wrapper: str, model: nn.Module, site: tm.Site, automatic: bool) -> dict[str, object]:
    criterion = site.criterion(nn.CrossEntropyLoss())
    wrapped: nn.Module
    if wrapper == "DDP":
        wrapped = nn.parallel.DistributedDataParallel(model)
    else:
        from torch.distributed.fsdp import fully_shard

        mesh = torch.distributed.init_device_mesh("cpu", (2,))
        fully_shard(model.stem, mesh=mesh)
        wrapped = fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    x, y = X[part(rank)], Y[part(rank)]
    half = None
    for step in range(STEPS):
        if step == STEPS // 2:
            half = site.state_dict()
        if automatic:
            loss = criterion(wrapped(x), y)
        else:
            with site.mixing(len(x)) as plan:
                loss = tm.mixed_loss(F.cross_entropy, wrapped(x), y, plan)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = [getattr(p, "full_tensor", lambda p=p: p)().detach() for p in model.parameters()]
    return {"weights": weights, "half": half, "next": _next_partners(site)}


def _next_partners(site: tm.Site) -> list[list[int]]:
    plans = (site.draw(16) for _ in range(4))
    return [[] if plan is None else plan.draws["stem"].partner.tolist() for plan in plans]


def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """One process that exchanges the features of both parts itself, and takes the mean of their losses."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        losses = []
        for rank in range(2):
            monkeypatch.setenv("WORLD_SIZE", "2")
            monkeypatch.setenv("RANK", str(rank))
            draws = tm.attach(net(), tm.MoEx(p=0.7), at="stem")
            draws.load_state_dict({"seed": 3, "counter": step})
            plan = draws.draw(4)
            h, y = model.stem(X[part(rank)]), Y[part(rank)]
            partner = torch.arange(4) if plan is None else plan.draws["stem"].partner
            output = model.fc((h if plan is None else tm.exchange(h, partner)).mean((2, 3)))
            losses.append(0.9 * F.cross_entropy(output, y) + 0.1 * F.cross_entropy(output, y[partner]))
        (sum(losses) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    monkeypatch.delenv("RANK")
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["DDP", pytest.param("FSDP2", marks=pytest.mark.thorough)])
def test_two_processes_arrive_where_one_does_by_hand(tmp_path: Path, monkeypatch, wrapper):
    if wrapper == "FSDP2" and torch.__version__ < "2.11":
        pytest.skip("needs a GPU there")
    torch.multiprocessing.spawn(train, (str(tmp_path), wrapper), nprocs=2)
    automatic, explicit = zip(*(torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)), strict=True)
    expected = by_hand(monkeypatch)
    for ranks in (automatic, explicit):
        for found in ranks:
            torch.testing.assert_close(found["weights"], expected, rtol=1e-4, atol=1e-6)
        assert ranks[0]["half"] == ranks[1]["half"]
        assert ranks[0]["next"] != ranks[1]["next"]
        for rank, found in enumerate(ranks):
            with monkeypatch.context() as patch:
                patch.setenv("WORLD_SIZE", "2")
                patch.setenv("RANK", str(rank))
                resumed = tm.attach(net(), tm.MoEx(p=0.7), at="stem", seed=99)
                resumed.load_state_dict(copy.copy(ranks[0]["half"]))
                for _ in range(STEPS // 2):
                    resumed.draw(4)
                assert _next_partners(resumed) == found["next"]
