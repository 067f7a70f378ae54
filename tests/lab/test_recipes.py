"""The paper's recipes: the settings of its tables, and the command lines that they become."""

import pickle
import sys

import numpy as np
import pytest

from torchmoments.cli import main
from torchmoments.lab.methods import parse_method
from torchmoments.lab.recipes import RECIPES, with_recipe

CIFAR = {
    "epochs": 300, "batch_size": 64, "lr": 0.25, "schedule": "step", "weight_decay": 1e-4, "augment": True,
    "warmup_epochs": 0, "devices": 1, "image_size": None, "pretrained": False, "compile": False,
}  # fmt: skip
IMAGENET = {
    "epochs": 300, "batch_size": 1792, "lr": 0.7, "schedule": "cosine", "weight_decay": 1e-4, "augment": True,
    "warmup_epochs": 5, "devices": 8, "image_size": 224, "pretrained": False, "model": "torchvision/resnet50",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cifar10-pyramidnet200", CIFAR | {"data": "cifar10", "model": "pytorchcv/pyramidnet200_a240_bn_cifar10"}),
        ("cifar100-pyramidnet200", CIFAR | {"data": "cifar100", "model": "pytorchcv/pyramidnet200_a240_bn_cifar100"}),
        ("imagenet-resnet50", IMAGENET),
        ("imagenet-resnet50-cutmix", IMAGENET),
    ],
)
def test_the_settings_are_those_of_the_authors_code(name, settings):
    recipe = RECIPES[name]
    assert {key: getattr(recipe, key) for key in settings} == pytest.approx(settings)


@pytest.mark.parametrize(
    ("name", "p", "lam", "at"),
    [
        ("cifar10-pyramidnet200", 0.25, 0.5, "features.init_block"),
        ("cifar100-pyramidnet200", 0.25, 0.5, "features.init_block"),
        ("imagenet-resnet50", 1.0, 0.9, "maxpool"),
        ("imagenet-resnet50-cutmix", 0.25, 0.9, "maxpool"),
    ],
)
def test_the_methods_are_those_of_the_authors_code(name, p, lam, at):
    method = parse_method(RECIPES[name].method)
    assert (method.mixer.norm, method.mixer.p, method.mixer.lam, method.at) == ("pono", p, lam, (at,))


def test_cutmix_goes_before_moex_on_every_batch():
    inputs = parse_method(RECIPES["imagenet-resnet50-cutmix"].method).inputs
    assert (inputs.kind, inputs.p, inputs.alpha) == ("cutmix", 1.0, 1.0)


@pytest.mark.parametrize("given", [["--recipe", "cifar100-pyramidnet200"], ["--recipe=cifar100-pyramidnet200"]])
def test_other_flags_go_before_those_of_the_recipe(given):
    words = with_recipe(["train", *given, "--epochs", "3"])
    assert words[0] == "train"
    assert "--augment" in words
    assert words.index("--epochs") < len(words) - 2
    assert words[-2:] == ["--epochs", "3"]


def test_without_a_recipe_nothing_changes():
    assert with_recipe(["train", "--epochs", "3"]) == ["train", "--epochs", "3"]
    assert with_recipe(["compare", "--recipe", "cifar100-pyramidnet200"])[0:2] == ["compare", "--recipe"]
    assert with_recipe([]) == []


def test_an_unknown_recipe_is_refused_with_the_nearest(capsys):
    assert main(["train", "--recipe", "cifar100-pyramidnet"]) == 2
    assert "Nearest: 'cifar100-pyramidnet200'" in capsys.readouterr().err


def test_the_place_of_the_cifar_recipe_ends_in_a_norm_and_no_relu():
    from pytorchcv.model_provider import get_model
    from torch import nn

    model = get_model("pyramidnet200_a240_bn_cifar100", pretrained=False)
    assert [type(module) for module in model.get_submodule("features.init_block").children()] == [
        nn.Conv2d,
        nn.BatchNorm2d,
    ]


def test_a_recipe_runs_on_files_in_the_format_of_cifar(tmp_path, capsys):
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, number in (("train", 200), ("test", 100)):
        pixels = random.integers(0, 256, (number, 3072), dtype=np.uint8)
        content = {b"data": pixels, b"fine_labels": [i % 100 for i in range(number)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"class %d" % i for i in range(100)]}))
    # The same place in a smaller network of the same library.
    flags = ["--model", "pytorchcv/resnet20_cifar100", "--epochs", "1", "--data-dir", str(tmp_path)]
    code = main(["train", "--recipe", "cifar100-pyramidnet200", *flags, "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert "after 1 epochs" in told.out


def test_the_command_line_of_the_process_is_expanded_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["torchmoments", "train", "--recipe", "nothing"])
    assert main() == 2
    assert "recipe needs a known name" in capsys.readouterr().err
