"""docs/moving.md: each row of its tables against the published formula, one sample at a time."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchmoments as tm

X = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(6) % 4


class Stages(nn.Module):
    """The names of a ResNet, and an Identity where it may mix."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.maxpool = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AvgPool2d(2)
        for number in range(1, 5):
            setattr(self, f"layer{number}", nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()))
        self.mix = nn.Identity()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor, change: dict[str, Callable[[Tensor], Tensor]] | None = None) -> Tensor:
        for name in ("conv1", "bn1", "maxpool", "layer1", "layer2", "mix", "layer3", "layer4"):
            x = getattr(self, name)(x)
            if change and name in change:
                x = change[name](x)
        return self.fc(x.mean((2, 3)))


def stages() -> Stages:
    torch.manual_seed(0)
    return Stages().double()


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def close(ours: Tensor | list[Tensor], expected: Tensor | list[Tensor]) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


def moments(values: Tensor, dims: tuple[int, ...], eps: float, positive: bool) -> tuple[Tensor, Tensor]:
    if not positive:
        count = torch.tensor([values.shape[dim] for dim in dims]).prod()
        mean = values.sum(dims, keepdim=True) / count
        return mean, (((values - mean) ** 2).sum(dims, keepdim=True) / (count - 1) + eps).sqrt()
    over = values.clamp(min=0)
    count = (values > 0).sum(dims, keepdim=True)
    mean = over.sum(dims, keepdim=True) / count
    return mean, ((over**2).sum(dims, keepdim=True) / count - mean**2 + eps).sqrt()


def moex(x: Tensor, index: Tensor, norm: str = "pono", eps: float = 1e-5, positive: bool = False) -> Tensor:
    """As `swap_index` does it: groups of channels, and the axes of one moment in [groups, channels, H, W]."""
    groups = 1
    if "-d" in norm:
        groups = x.shape[1] // int(norm.split("-d")[1])
    elif norm[-1].isdigit():
        groups = int(norm.lstrip("gpno"))
    axes = {"pono": (1,), "gpono": (1,), "in": (2, 3), "ln": (1, 2, 3), "gn": (1, 2, 3)}
    dims = axes[norm.split("-")[0].rstrip("0123456789")]
    split = x.reshape(len(x), groups, -1, *x.shape[2:])
    mixed = []
    for own, partner in zip(split, split[index], strict=True):
        (mean, std), (new_mean, new_std) = moments(own, dims, eps, positive), moments(partner, dims, eps, positive)
        mixed.append((own - mean) / std * new_std + new_mean)
    return torch.stack(mixed).reshape(x.shape)


def two_labels(output: Tensor, index: Tensor, lam: float) -> Tensor:
    return lam * F.cross_entropy(output, Y) + (1 - lam) * F.cross_entropy(output, Y[index])


@pytest.mark.parametrize("place", ["maxpool", "layer1", "layer2", "layer3", "layer4", "bn1"])
def test_moex_layer_is_a_place(place):
    model = stages()
    site = tm.attach(model, tm.MoEx(p=1, lam=0.5), at=place)
    output = model(X)
    index = site.plan.draws[place].partner
    expected = stages()
    by_hand = expected(X, {place: lambda h: moex(h, index)})
    close(output, by_hand)
    ours = gradients(model, site.criterion(nn.CrossEntropyLoss())(output, Y))
    close(ours, gradients(expected, two_labels(by_hand, index, 0.5)))


def test_a_dense_net_has_its_places_below_features():
    torchvision = pytest.importorskip("torchvision")
    tm.attach(torchvision.models.densenet121(num_classes=4), tm.MoEx(), at="features.pool0")


@pytest.mark.parametrize("norm", ["pono", "in", "ln", "gn4", "gn-d4", "gpono4", "gpono-d4"])
@pytest.mark.parametrize(("eps", "positive"), [(1e-5, False), (1e-2, False), (1e-5, True)])
def test_moex_options_are_those_of_the_published_formula(norm, eps, positive):
    x = torch.randn(6, 16, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 1.5
    x, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    index = torch.tensor([3, 0, 1, 2, 5, 4])
    ours = tm.MoEx(norm, eps=eps, positive_only=positive)(x, tm.Draw(index))
    theirs = moex(again, index, norm, eps, positive)
    close(ours, theirs)
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    close(torch.autograd.grad(ours, x, direction)[0], torch.autograd.grad(theirs, again, direction)[0])


def test_bn_is_refused():
    with pytest.raises(ValueError, match="bn"):
        tm.MoEx("bn")


def test_an_index_of_your_own_is_a_function():
    index = torch.tensor([3, 0, 1, 2, 5, 4])
    model = stages()
    tm.attach(model, tm.MoEx(p=1, partner=lambda batch_size, groups, generator: index), at="maxpool")
    close(model(X), stages()(X, {"maxpool": lambda h: moex(h, index)}))


def test_two_inputs_of_the_cifar_script_are_bn1_but_for_running_statistics():
    ours, theirs = stages(), stages()
    site = tm.attach(ours, tm.MoEx(p=1), at="bn1")
    output = ours(X)
    index = site.plan.draws["bn1"].partner
    close(output, theirs(X, {"bn1": lambda h: two_inputs(theirs, h, X[index])}))
    assert ours.bn1.num_batches_tracked == 1
    assert theirs.bn1.num_batches_tracked == 2


def two_inputs(model: Stages, h: Tensor, second: Tensor) -> Tensor:
    (mean, std), (new_mean, new_std) = (
        moments(values, (1,), 1e-5, False) for values in (h, model.bn1(model.conv1(second)))
    )
    return (h - mean) / std * new_std + new_mean


def test_cutmix_and_moex_with_the_same_partner_are_three_labels():
    index, cut = torch.tensor([3, 0, 1, 2, 5, 4]), 0.7
    output = stages()(X)
    mixer = tm.MoEx(p=1, partner=lambda batch_size, groups, generator: index)
    ours = tm.mixed_loss(F.cross_entropy, output, Y, tm.Draw(index, label_weight=cut), mixer.draw(6))
    first, second, third = (F.cross_entropy(output, y) for y in (Y, Y[index], Y[index][index]))
    close(ours, cut * 0.9 * first + ((1 - cut) * 0.9 + cut * 0.1) * second + (1 - cut) * 0.1 * third)


def test_one_coin_gives_each_batch_cutmix_or_moex_and_its_labels(monkeypatch):
    pytest.importorskip("torchvision")
    text = (Path(__file__).parent.parent / "docs" / "combining.md").read_text()
    (code,) = re.findall(r"^## CutMix or MoEx by one coin\n.*?^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    targets, partners = [], []
    cross_entropy, exchange = nn.CrossEntropyLoss.forward, tm.MoEx.__call__
    monkeypatch.setattr(
        nn.CrossEntropyLoss, "forward", lambda self, x, y: targets.append(y) or cross_entropy(self, x, y)
    )
    monkeypatch.setattr(
        tm.MoEx, "__call__", lambda self, x, draw, mask: partners.append(draw.partner) or exchange(self, x, draw, mask)
    )
    torch.manual_seed(0)
    model = Stages()
    model.fc = nn.Linear(8, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    exec(code, {"model": model, "optimizer": optimizer, "loader": [(X.float(), Y) for _ in range(12)]})
    soft = [y for y in targets if y.is_floating_point()]
    assert 0 < len(soft) < 12
    assert len(partners) == 12 - len(soft)
    expected = [y for partner in partners for y in (Y, Y[partner])]
    torch.testing.assert_close([y for y in targets if not y.is_floating_point()], expected)


def mixstyle(x: Tensor, index: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    mixed = []
    for own, partner, w in zip(x, x[index], weight, strict=True):
        (mean, std), (new_mean, new_std) = (
            [moment.detach() for moment in moments(values, (1, 2), eps, False)] for values in (own, partner)
        )
        mixed.append((own - mean) / std * (w * std + (1 - w) * new_std) + w * mean + (1 - w) * new_mean)
    return torch.stack(mixed)


def efdmix(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    mixed = []
    for own, partner, w in zip(x, x[index], weight, strict=True):
        channels = []
        for values, others in zip(own.flatten(1), partner.flatten(1), strict=True):
            ranks = (values[:, None] > values).sum(1)
            channels.append(values + (1 - w) * (others.sort().values[ranks] - values.detach()))
        mixed.append(torch.stack(channels).reshape(own.shape))
    return torch.stack(mixed)


@pytest.mark.parametrize(
    ("mixer", "formula"),
    [
        (tm.MixStyle(p=1), mixstyle),
        (tm.MixStyle(p=1, alpha=0.3, eps=1e-2), lambda *given: mixstyle(*given, eps=1e-2)),
        (tm.MixStyle(p=1, partner="crossdomain"), mixstyle),
        (tm.EFDMix(p=1), efdmix),
        (tm.EFDMix(p=1, partner="crossdomain"), efdmix),
    ],
    ids=["mixstyle", "mixstyle-options", "mixstyle-crossdomain", "efdmix", "efdmix-crossdomain"],
)
@pytest.mark.parametrize("at", [["layer1", "layer2"], ["layer1", "layer2", "layer3"], ["mix"]], ids="-".join)
def test_ms_l12_is_two_places_with_draws_of_their_own(mixer, formula, at):
    model, expected = stages(), stages()
    site = tm.attach(model, mixer, at=at, seed=0)
    output = model(X)
    draws = site.plan.draws
    change = {}
    for name in at:
        index, weight = draws[name].partner, draws[name].moment_weight.double()
        if mixer.partner == "crossdomain":
            assert all((index[:3] >= 3).tolist() + (index[3:] < 3).tolist())
        # A sample that drew itself is left out of EFDMix, whose published gradient there is 2 - w.
        mixed = draws[name].mixed[:, None, None, None]
        change[name] = lambda h, index=index, weight=weight, mixed=mixed: torch.where(
            mixed, formula(h, index, weight), h
        )
    by_hand = expected(X, change)
    close(output, by_hand)
    close(gradients(model, F.cross_entropy(output, Y)), gradients(expected, F.cross_entropy(by_hand, Y)))
    assert len({tuple(draw.partner.tolist()) for draw in draws.values()}) == len(at)


def test_defaults_are_those_of_dassl():
    assert tm.MixStyle() == tm.MixStyle(p=0.5, alpha=0.1, eps=1e-6, partner="random")
    assert tm.EFDMix() == tm.EFDMix(p=0.5, alpha=0.1, partner="random")


def test_domains_in_any_order_have_partners_of_another():
    model = stages()
    site = tm.attach(model, tm.MixStyle(p=1, partner="other-group"), at="layer1")
    domains = torch.tensor([0, 1, 0, 2, 2, 1])
    with site.mixing(6, groups=domains) as plan:
        output = model(X)
    draw = plan.draws["layer1"]
    assert (domains != domains[draw.partner]).all()
    close(output, stages()(X, {"layer1": lambda h: mixstyle(h, draw.partner, draw.moment_weight.double())}))


def test_run_without_mixstyle_is_using_none():
    model = stages()
    site = tm.attach(model, tm.MixStyle(p=1), at=["layer1", "layer2"])
    with site.using(None):
        assert torch.equal(model(X), stages()(X))
    assert not torch.equal(model(X), stages()(X))


def test_run_with_mixstyle_is_mixing_of_a_site_that_is_not_automatic():
    model = stages()
    random = tm.attach(model, tm.MixStyle(p=1), at="layer1", automatic=False)
    across = tm.attach(model, tm.MixStyle(p=1, partner="crossdomain"), at="layer1", automatic=False)
    assert torch.equal(model(X), stages()(X))
    for site in (random, across):
        with site.mixing(6) as plan:
            output = model(X)
        draw = plan.draws["layer1"]
        close(output, stages()(X, {"layer1": lambda h, d=draw: mixstyle(h, d.partner, d.moment_weight.double())}))


def test_without_gradients_only_mixing_mixes():
    model = stages()
    site = tm.attach(model, tm.MixStyle(p=1), at="layer1")
    with torch.no_grad():
        assert torch.equal(model(X), stages()(X))
        with site.mixing(6):
            assert not torch.equal(model(X), stages()(X))
