"""The recipes of docs/recipes.md, run as they stand, and what each of them promises."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchmoments as tm

TEXT = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
PREAMBLE = re.search(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.maxpool(self.norm(self.conv(x))).mean((2, 3)))


class Recipe:
    """Runs the block of one section in which every step is mixed, and notes what was mixed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partners: list[torch.Tensor] = []
        self.dtypes: list[torch.dtype] = []
        self.monkeypatch = monkeypatch

    def run(self, section: str, replace: tuple[str, str] = ("p=0.5", "p=1")) -> dict:
        exchange = tm.MoEx.__call__

        def spy(mixer: tm.MoEx, x: torch.Tensor, draw: tm.Draw, mask: torch.Tensor | None) -> torch.Tensor:
            if not torch.compiler.is_compiling():
                self.partners.append(draw.partner)
                self.dtypes.append(x.dtype)
            return exchange(mixer, x, draw, mask)

        self.monkeypatch.setattr(tm.MoEx, "__call__", spy)
        code = SECTIONS[section]
        assert replace[0] in code
        names = surroundings()
        exec(compile(PREAMBLE + code.replace(*replace), section, "exec"), names)
        return names

    def same(self) -> list[bool]:
        """For each two calls in a row, whether they had the same partners."""
        return [a.equal(b) for a, b in zip(self.partners, self.partners[1:], strict=False)]


def surroundings() -> dict:
    torch.manual_seed(0)
    model = Net()
    loader = [(torch.randn(8, 3, 16, 16), torch.randint(10, (8,))) for _ in range(4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return {"model": model, "loader": loader, "optimizer": optimizer, "x": loader[0][0], "y": loader[0][1]}


def weights(names: dict) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in names["model"].parameters()])


@pytest.fixture
def recipe(monkeypatch):
    return Recipe(monkeypatch)


def by_hand(step, *, seed=None):
    """Where the recipe should arrive: `step` for each batch, with the partners that an equal site draws."""
    names = surroundings()
    twin = tm.attach(Net(), tm.MoEx(p=1), at="maxpool", seed=seed)
    for number, (x, y) in enumerate(names["loader"], 1):
        step(names, x, y, twin.draw(len(x)).draws["maxpool"].partner, number)
    return names


def mixed_output(model: nn.Module, x: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    h = tm.exchange(model.maxpool(model.norm(model.conv(x))), partner)
    return model.fc(h.mean((2, 3)))


def both_labels(output: torch.Tensor, y: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    return 0.9 * F.cross_entropy(output, y) + 0.1 * F.cross_entropy(output, y[partner])


def plain_step(names, x, y, partner, number):
    both_labels(mixed_output(names["model"], x, partner), y, partner).backward()
    names["optimizer"].step()
    names["optimizer"].zero_grad()


@pytest.mark.parametrize(
    "section",
    [
        "Plain loop",
        "Activation checkpointing",
        pytest.param("Compiled model", marks=pytest.mark.slow),
        "Explicit plans",
        pytest.param("A whole step in one graph", marks=pytest.mark.slow),
    ],
)
def test_loop_arrives_at_the_weights_of_a_step_written_by_hand(recipe, section):
    names, expected = recipe.run(section), by_hand(plain_step)
    torch.testing.assert_close(weights(names), weights(expected), rtol=1e-5, atol=1e-6)


def test_autocast_mixes_half_features_and_trains(recipe):
    names = recipe.run("Mixed precision")
    assert set(recipe.dtypes) == {torch.float16}
    assert names["loss"].isfinite()
    torch.testing.assert_close(weights(names), weights(by_hand(plain_step)), rtol=0, atol=2e-3)
    assert not torch.equal(weights(names), weights(surroundings()))


def test_accumulation_sums_the_gradients_of_separately_mixed_batches(recipe):
    def step(names, x, y, partner, number):
        (both_labels(mixed_output(names["model"], x, partner), y, partner) / 2).backward()
        if number % 2 == 0:
            names["optimizer"].step()
            names["optimizer"].zero_grad()

    names = recipe.run("Gradient accumulation")
    assert not any(recipe.same())
    torch.testing.assert_close(weights(names), weights(by_hand(step)), rtol=1e-5, atol=1e-6)


def test_both_forwards_of_sam_have_the_same_partners(recipe):
    recipe.run("Sharpness-aware minimization")
    assert recipe.same() == [True, False, True, False, True, False, True]


def test_gan_mixes_real_and_fake_apart_and_leaves_the_generators_step_plain(recipe):
    names = recipe.run("GAN")
    assert len(recipe.partners) == 2 * len(names["loader"])
    assert not any(recipe.same())
    assert all(p.grad is None for p in names["discriminator"].parameters())


def test_both_views_have_the_same_partners(recipe):
    recipe.run("Two views of a batch")
    assert recipe.same() == [True, False, True, False, True, False, True]


def test_the_ema_teacher_is_plain_and_follows(recipe):
    names = recipe.run("EMA teacher")
    assert len(recipe.partners) == len(names["loader"])
    teacher = torch.cat([p.flatten() for p in names["teacher"].module.parameters()])
    assert not torch.equal(teacher, weights(names))
    assert not torch.equal(teacher, weights(surroundings()))


def test_a_frozen_backbone_is_mixed_and_stays_as_it_is(recipe):
    names, before = recipe.run("Frozen backbone"), surroundings()["model"]
    assert len(recipe.partners) == len(names["loader"])
    for part in ("conv", "norm"):
        frozen, old = getattr(names["model"], part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(frozen[key], old[key]) for key in old)
    assert not torch.equal(names["model"].fc.weight, before.fc.weight)


def test_one_process_of_several_trains_as_alone(recipe, monkeypatch, tmp_path):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    names = recipe.run("Several processes")
    torch.testing.assert_close(weights(names), weights(by_hand(plain_step, seed=0)), rtol=1e-5, atol=1e-6)


def test_going_on_after_a_stop_has_the_same_draws(recipe):
    names = recipe.run("Resuming")
    first = names["site"].draw(8).draws["maxpool"].partner
    names["site"].load_state_dict(names["saved"]["site"])
    assert torch.equal(names["site"].draw(8).draws["maxpool"].partner, first)


def test_other_targets_have_both_labels(recipe):
    names = recipe.run("Other targets and losses")
    (partner,) = recipe.partners
    output, y, real = names["output"], names["y"], names["real"]
    value = 0.9 * F.mse_loss(output[:, 0], real) + 0.1 * F.mse_loss(output[:, 0], real[partner])
    torch.testing.assert_close(names["value"], value)
    torch.testing.assert_close(names["both"], both_labels(output, y, partner) + value)
    assert names["smooth"] > 0
    assert names["labels"] > 0
    torch.testing.assert_close(F.cross_entropy(output, names["soft"]), both_labels(output, y, partner))


def test_transformer_recipe_leaves_the_class_token_alone(recipe):
    names = recipe.run("Transformers")
    model, x = names["model"].eval(), names["x"]
    seen = []
    model.block.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].detach()))
    model(x)
    model.train()
    with names["site"].mixing(len(x)) as plan:
        model(x)
        plan.terms  # noqa: B018 - the labels do not matter here
    plain, mixed = seen
    assert torch.equal(plain[:, 0], mixed[:, 0])
    expected = tm.exchange(plain[:, 1:], plan.draws["block"].partner, channel_dim=-1)
    torch.testing.assert_close(mixed[:, 1:], expected)


def test_the_padding_recipe_mixes_what_is_no_padding(recipe):
    names = recipe.run("Padding", ("p=0.5", "p=1"))
    model, sounds, mask, site = (names[name] for name in ("model", "sounds", "mask", "site"))
    seen = []
    model.conv.register_forward_hook(lambda module, arguments, output: seen.append(output.detach()))
    with site.using(None):
        model(sounds, mask)
    with site.mixing(8, mask=mask) as plan:
        model(sounds, mask)
    plain, mixed = seen
    real = mask[:, None].expand_as(plain)
    assert torch.equal(mixed[~real], plain[~real])
    expected = tm.MixStyle()(plain, plan.draws["conv"], mask)
    assert torch.equal(mixed, expected)
    assert not torch.equal(mixed, plain)


def test_a_shared_module_is_mixed_at_its_first_call(recipe):
    names = recipe.run("A module that runs several times", ("p=0.5", "p=1"))
    model, x = names["model"], names["x"]
    with names["site"].mixing(len(x)) as plan:
        output = model(x)
        plan.terms  # noqa: B018 - the labels do not matter here
    with names["site"].using(None):
        h = tm.exchange(model.relu(model.first(x)), plan.draws["relu"].partner)
        torch.testing.assert_close(output, model.fc(model.relu(model.second(h)).mean((2, 3))))


def test_every_recipe_is_tested():
    source = Path(__file__).read_text()
    assert [section for section in SECTIONS if source.count(f'"{section}"') < 1] == []
