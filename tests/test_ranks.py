"""`partner="global"`: the processes together train what one process does with the whole batch and the same draws."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchmoments as tm
from torchmoments.effect import change
from torchmoments.ranks import GlobalIndex, Shares

STEPS = 4
PLACES = ("stem", "body")

Found = dict[str, object]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = x.clone()
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        return AllReduce.apply(g)


class BatchNormOfAllRanks(nn.Module):
    """Like SyncBatchNorm in train mode, which needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        axes = (0, 2, 3)
        sums = torch.stack([torch.full((x.shape[1],), x.numel() / x.shape[1]), x.sum(axes), x.square().sum(axes)])
        if dist.is_initialized():
            sums = AllReduce.apply(sums)
        mean, square = sums[1] / sums[0], sums[2] / sums[0]
        std = (square - mean.square() + 1e-5).sqrt()
        return (x - mean[:, None, None]) / std[:, None, None]


class Net(nn.Module):
    def __init__(self, recompute: str = "", norm: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), BatchNormOfAllRanks() if norm else nn.Identity(), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3), nn.Tanh())
        self.fc = nn.Linear(6 * 16, 4)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute:
            h = x.clone().requires_grad_()
            for part in (self.stem, self.body):
                h = checkpoint(part, h, use_reentrant=self.recompute == "reentrant")
        else:
            h = self.body(self.stem(x))
        return self.fc(h.flatten(1))


def net(**options) -> Net:
    torch.manual_seed(0)
    return Net(**options).double()


def whole_batch(size: int) -> tuple[Tensor, Tensor]:
    return random(STEPS, size, 3, 8, 8), torch.randint(4, (STEPS, size), generator=torch.Generator().manual_seed(1))


def train(
    mixer: tm.Mixer,
    rank: int,
    ranks: int,
    *,
    places: tuple[str, ...] = PLACES[:1],
    size: int = 8,
    wrapper: str = "DDP",
    explicit: bool = False,
    accumulate: int = 1,
    compiled: bool = False,
    **options,
) -> Found:
    """Train for some steps with one rank's part of each batch; a single process gets all of it."""
    model = net(**options)
    site = tm.attach(model, mixer, at=places, seed=5, automatic=not explicit)
    criterion = site.criterion(nn.CrossEntropyLoss())
    called: nn.Module = model
    if compiled and ranks > 1:
        called = torch.compile(model, backend="aot_eager", fullgraph=explicit)
    if ranks > 1:
        called = _wrapped(called, wrapper, ranks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    found: Found = {"losses": [], "gradients": [], "accuracy": []}
    for step, (x, y) in enumerate(zip(*whole_batch(size), strict=True)):
        x, y = (torch.tensor_split(part, ranks)[rank] for part in (x, y))
        last = (step + 1) % accumulate == 0
        if ranks > 1 and wrapper == "DDP":
            called.require_backward_grad_sync = last  # what no_sync() sets
        if explicit:
            with site.mixing(len(x)) as plan:
                output = called(x)
            loss = tm.mixed_loss(F.cross_entropy, output, y, plan)
            soft = tm.mixed_targets(y, plan, num_classes=4)
            torch.testing.assert_close(-(soft.double() * output.log_softmax(1)).sum(1).mean(), loss, rtol=1e-6, atol=0)
        else:
            output = called(x)
            loss = criterion(output, y)
        share = len(x) / size
        found["accuracy"].append(share * float(site.accuracy(output, y)))
        found["losses"].append(share * loss.item())
        (loss * share * ranks).backward()
        if last:
            found["gradients"] += [_full(parameter.grad).clone() for parameter in model.parameters()]
            optimizer.step()
            optimizer.zero_grad()
    found["weights"] = [_full(parameter.detach()).clone() for parameter in model.parameters()]
    found["state"] = site.state_dict()
    return found


def _wrapped(model: nn.Module, wrapper: str, ranks: int) -> nn.Module:
    if wrapper == "DDP":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.fsdp import fully_shard

    mesh = dist.init_device_mesh("cpu", (ranks,))
    fully_shard(model.stem, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def globally(kind: type[tm.Mixer], *arguments, **options) -> tm.Mixer:
    return kind(*arguments, **options, partner="global")


STYLES = globally(tm.MixStyle, p=0.7, grad="both")
OTHER = {"label_from": "other", "lam": 0.6}
TRAININGS: dict[str, Callable[[int, int], Found]] = {
    "moex pono": partial(train, globally(tm.MoEx, p=0.7)),
    "moex in, explicit": partial(train, globally(tm.MoEx, "in", p=0.7), explicit=True),
    "moex gn2 of another label": partial(train, globally(tm.MoEx, "gn2", p=1, **OTHER), explicit=True),
    "moex per sample, interpolated": partial(train, globally(tm.MoEx, p=0.5, per_sample=True, alpha=0.4)),
    "moex to the donor alone": partial(train, globally(tm.MoEx, p=1, grad="donor", lam=1.0)),
    "moex without the donor": partial(train, globally(tm.MoEx, p=1, grad="own", moment="std", lam=1.0)),
    "moex of positive values": partial(train, globally(tm.MoEx, "in", p=1, positive_only=True)),
    "moex by the definition": partial(train, globally(tm.MoEx, p=1, backend="reference")),
    "moex by a kernel": partial(train, globally(tm.MoEx, "in", p=1, backend="triton"), explicit=True),
    "mixstyle at two places": partial(train, STYLES, places=PLACES),
    "mixstyle without gradient": partial(train, globally(tm.MixStyle, p=0.7, per_sample=True), explicit=True),
    "padain": partial(train, globally(tm.PermutedAdaIN, 0.8), places=PLACES),
    "crossnorm at one of two places": partial(train, globally(tm.CrossNorm, p=1, crop="both"), places=PLACES),
    "labels": partial(train, globally(tm.LabelsOnly, p=0.7)),
    "unequal shares": partial(train, globally(tm.MoEx, p=1), size=7),
    "unequal shares, other labels": partial(train, globally(tm.MoEx, p=1, **OTHER), size=7, explicit=True),
    "one sample a rank": partial(train, globally(tm.MoEx, p=1), size=4),
    "accumulation": partial(train, globally(tm.MoEx, p=0.7), accumulate=2),
    "checkpoint": partial(train, globally(tm.MoEx, p=1), recompute="plain", places=PLACES),
    "reentrant checkpoint": partial(train, STYLES, recompute="reentrant", places=PLACES, explicit=True),
    "statistics of all ranks": partial(train, globally(tm.MoEx, p=1), norm=True),
    "FSDP2": partial(train, globally(tm.MoEx, p=0.7), wrapper="FSDP2"),
    "compiled": partial(train, globally(tm.MoEx, p=0.7), compiled=True, size=7),
    "compiled without a break": partial(train, STYLES, compiled=True, explicit=True, places=PLACES),
}  # fmt: skip


def refusals(rank: int, ranks: int) -> Found:
    """The complaint of each wrong use; each leaves the ranks in step."""
    mixer = globally(tm.MoEx, p=1)

    def site(seed: int = 0) -> tm.Site:
        return tm.attach(net(), mixer, at="stem", seed=seed)

    plan = site().draw(2)
    assert plan is not None
    y = torch.arange(2)
    permutation = plan.terms[1][0]
    mixup = tm.Draw(torch.tensor([1, 0]), label_weight=0.7)
    uses = {
        "seeds": lambda: site(seed=rank).draw(2),
        "no sample": lambda: site().draw(2 * rank),
        "index": lambda: y[permutation],
        "rows": lambda: random(2, 3)[plan.draws["stem"].partner],
        "elsewhere": lambda: random(2, 3).index_select(0, permutation),
        "batch": lambda: permutation.of(torch.arange(5)),
        "compiled": lambda: tm.exchange(random(2, 3, 4, 4), plan.draws["stem"].partner, backend="compiled"),
        "twice": lambda: tm.mixed_loss(F.cross_entropy, random(2, 4), y, mixup, plan),
        "twice, the other way": lambda: tm.mixed_targets(y, plan, mixup, num_classes=2),
    }
    return {name: _complaint(use) for name, use in uses.items()}


def _complaint(use: Callable[[], object]) -> str:
    try:
        use()
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def asymmetric(rank: int, ranks: int) -> Found:
    """What one rank may do alone, because nothing is gathered."""
    model = net()
    site = tm.attach(model, globally(tm.MoEx, p=1), at="stem", seed=0)
    model.eval()
    x = random(2, 3, 8, 8)
    if rank == 0:
        assert site.draw(2) is None
        assert torch.equal(model(x), net()(x))
        tm.mixed_loss(F.cross_entropy, model(x), torch.arange(2), None).backward()
        with torch.no_grad():
            model.train()(x)
    dist.barrier()
    return {"counter": site.state_dict()["counter"]}


def gradients_of_gradients(rank: int, ranks: int) -> Found:
    """A penalty on the gradient, whose own gradient crosses ranks twice."""
    x = torch.tensor_split(random(8, 3, 4, 4), ranks)[rank].clone().requires_grad_()
    w = torch.tensor_split(random(8, 3, 4, 4).flip(0), ranks)[rank]
    draw = globally(tm.MoEx, p=1).draw(len(x), generator=torch.Generator().manual_seed(1))
    assert draw is not None
    mixed = globally(tm.MoEx, p=1)(x, draw)
    (g,) = torch.autograd.grad((mixed.tanh() * w).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(g.square().sum(), x)
    return {"rows": [mixed.detach(), g.detach(), second]}


def masked(rank: int, ranks: int) -> Found:
    """Padding is excluded, also in half precision; labels of any dtype arrive."""
    real = torch.tensor_split(random(8, 5) > -0.5, ranks)[rank]
    x = torch.tensor_split(random(8, 4, 5), ranks)[rank].clone().requires_grad_()
    rows = []
    for mixer in (globally(tm.MoEx, "in", p=1), globally(tm.PermutedAdaIN, 1.0)):
        draw = mixer.draw(len(x), generator=torch.Generator().manual_seed(1))
        y = mixer(x, draw, real)
        rows += [y.detach(), torch.autograd.grad(y.square().sum(), x)[0]]
    y = globally(tm.MoEx, "in", p=1)(x.bfloat16(), draw)
    assert y.dtype == torch.bfloat16
    rows += [y.detach(), torch.autograd.grad(y.square().sum(), x)[0]]
    for dtype in (torch.bool, torch.int16, torch.uint8, torch.bfloat16, torch.complex64):
        rows.append(
            tm.mixed_loss(lambda _, y: y, None, real.to(dtype), tm.Draw(draw.partner, draw.mixed, label_weight=0.0))
        )
    return {"rows": rows}


SCENARIOS = TRAININGS | {
    "refusals": refusals,
    "asymmetric": asymmetric,
    "gradients of gradients": gradients_of_gradients,
    "masked": masked,
}
NOT_BEFORE = {"FSDP2": "2.11"}  # on a CPU
# Compiling takes longer than all the rest, and what is compiled does not know how many ranks there are.
COMPILED = ("compiled", "compiled without a break")
OTHERS = tuple(name for name in SCENARIOS if name not in COMPILED)


def run(rank: int, ranks: int, folder: str, names: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=ranks)
    here = [name for name in names if torch.__version__ >= NOT_BEFORE.get(name, "")]
    found = {name: SCENARIOS[name](rank, ranks) for name in here}
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.barrier()
    os._exit(0)


def found_by(ranks: int, folder: Path, names: tuple[str, ...] = OTHERS) -> list[dict[str, Found]]:
    torch.multiprocessing.spawn(run, (ranks, str(folder), names), nprocs=ranks)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(ranks)]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> list[dict[str, Found]]:
    return found_by(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def of_four(tmp_path_factory) -> list[dict[str, Found]]:
    return found_by(4, tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module", params=["of_two", pytest.param("of_four", marks=pytest.mark.thorough)])
def found(request) -> list[dict[str, Found]]:
    """What each rank found in each scenario."""
    return request.getfixturevalue(request.param)


def compare_with_one_process(found, name):
    if name not in found[0]:
        pytest.skip("needs a GPU in this version of PyTorch")
    one = TRAININGS[name](0, 1)
    close = partial(torch.testing.assert_close, rtol=1e-8, atol=1e-10)
    ranks = [each[name] for each in found]
    for each in ranks:
        close(each["gradients"], one["gradients"])
        close(each["weights"], one["weights"])
        assert each["state"] == one["state"]
    for figure in ("losses", "accuracy"):
        close(
            [sum(parts) for parts in zip(*(each[figure] for each in ranks), strict=True)],
            one[figure],
            rtol=1e-6,
            atol=1e-6,
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAININGS if name not in COMPILED])
def test_the_ranks_together_train_what_one_process_does(found, name):
    compare_with_one_process(found, name)


@pytest.mark.slow
@pytest.mark.thorough
def test_compiled_ranks_together_train_what_one_process_does(tmp_path):
    found = found_by(2, tmp_path, COMPILED)
    for name in COMPILED:
        compare_with_one_process(found, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradients of gradients", "masked"])
def test_values_and_gradients_of_a_mixer_are_those_of_one_process(found, name):
    one = SCENARIOS[name](0, 1)["rows"]
    for number, expected in enumerate(one):
        joined = torch.cat([each[name]["rows"][number] for each in found])
        torch.testing.assert_close(joined, expected, rtol=1e-8, atol=1e-10)


REFUSALS = {
    "seeds": "same random numbers on every rank; they differ. Use the same seed",
    "no sample": "needs a sample on every rank; got (0, 2",
    "index": "these are samples of all ranks",
    "rows": "index no tensor of this rank alone. Use index.of(tensor) on every rank, or mixed_loss",
    "elsewhere": "GlobalIndex",
    "batch": "need the values of this rank's 2 samples; got shape [5]",
    "compiled": 'backend="compiled" takes no partners of other ranks. Use backend="auto".',
    "twice": "cannot be mixed a second time by indices",
    "twice, the other way": "cannot be mixed a second time by indices",
}


@pytest.mark.slow
@pytest.mark.parametrize("use", REFUSALS)
def test_wrong_uses_are_refused_on_every_rank(found, use):
    for each in found:
        assert REFUSALS[use] in each["refusals"][use]


@pytest.mark.slow
def test_eval_mode_and_forwards_without_gradient_wait_for_no_other_rank(found):
    assert [each["asymmetric"]["counter"] for each in found] == [0] * len(found)


def test_one_process_draws_as_with_random_partners():
    for kind in (tm.MoEx, tm.MixStyle, tm.LabelsOnly, tm.PermutedAdaIN, tm.CrossNorm):
        draws = [
            kind(p=1, partner=partner).draw(6, generator=torch.Generator().manual_seed(2))
            for partner in ("global", "random")
        ]
        assert torch.equal(draws[0].partner, draws[1].partner)


def test_processes_without_a_group_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"process group of the 2 processes; there is none. Call torch.distributed"):
        tm.MoEx(partner="global").draw(4)


def test_methods_that_need_features_of_other_ranks_are_refused():
    class Own(tm.Mixer):
        def mix(self, x: Tensor, draw: tm.Draw) -> Tensor:
            return x[draw.partner]

    for kind in (tm.EFDMix, Own):
        with pytest.raises(ValueError, match=f"never features, which {kind.__name__} needs. Use MoEx"):
            kind(partner="global")
    for kind in (tm.DSU, tm.RandomMoments):
        with pytest.raises(TypeError, match="partner"):
            kind(partner="global")


def test_a_share_in_which_all_keep_their_moments_gives_no_warning():
    shares = Shares((3, 3), 0)
    draw = tm.Draw(GlobalIndex(torch.arange(3), shares), torch.ones(3, dtype=torch.bool))
    x = random(3, 4, 5, 5)
    assert change(tm.MoEx(), x, x, draw, None).isnan()
    draw = tm.Draw(GlobalIndex(torch.tensor([4, 1, 2]), shares), torch.ones(3, dtype=torch.bool))
    assert change(tm.MoEx(), x, x, draw, None) < 1
