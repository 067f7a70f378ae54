"""Two processes: each mixes its own part of the batch, and the state of rank 0 resumes both."""

import copy
import itertools
import os
import socket
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


def train(rank: int, folder: str, port: int, wrapper: str, automatic: bool) -> None:
    torch.set_num_threads(1)
    # The site is there before the group.
    model = net()
    site = tm.attach(model, tm.MoEx(p=0.7), at="stem", seed=3, automatic=automatic)
    criterion = site.criterion(nn.CrossEntropyLoss())
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
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
    torch.save({"weights": weights, "half": half, "next": _next_partners(site)}, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    # Without taking gloo down: one rank may still use its threads when the other ends, which aborts now and then.
    os._exit(0)


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


@pytest.mark.parametrize(("wrapper", "automatic"), itertools.product(["DDP", "FSDP2"], [True, False]))
def test_two_processes_arrive_where_one_does_by_hand(tmp_path: Path, monkeypatch, wrapper, automatic):
    if wrapper == "FSDP2" and torch.__version__ < "2.11":
        pytest.skip("needs a GPU there")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train, (str(tmp_path), port, wrapper, automatic), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    expected = by_hand(monkeypatch)
    for found in ranks:
        torch.testing.assert_close(found["weights"], expected, rtol=1e-4, atol=1e-6)
    assert ranks[0]["half"] == ranks[1]["half"]
    assert ranks[0]["next"] != ranks[1]["next"]
    for rank, found in enumerate(ranks):
        monkeypatch.setenv("RANK", str(rank))
        resumed = tm.attach(net(), tm.MoEx(p=0.7), at="stem", seed=99)
        resumed.load_state_dict(copy.copy(ranks[0]["half"]))
        for _ in range(STEPS // 2):
            resumed.draw(4)
        assert _next_partners(resumed) == found["next"]
