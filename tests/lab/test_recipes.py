"""The paper's recipes: the settings of its tables, and the command lines that they become."""

import csv
import hashlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from torch import nn
from torchvision import datasets

from torchmoments_lab.cli import main
from torchmoments_lab.inputs import partner_of_the_images
from torchmoments_lab.methods import parse_method
from torchmoments_lab.recipes import RECIPES, pyramidnet200_a240, with_recipe
from torchmoments_lab.requests import Train

CIFAR = {
    "epochs": 300, "batch_size": 64, "lr": 0.25, "schedule": "step", "weight_decay": 1e-4, "augment": True,
    "warmup_epochs": 0, "devices": 1, "image_size": None, "pretrained": False, "compile": False,
    "schedule_every": "epoch", "nesterov": True, "precision": "32-true", "train_size": None,
    "model": "torchmoments_lab.recipes:pyramidnet200_a240",
}  # fmt: skip
IMAGENET = {
    "epochs": 300, "batch_size": 1792, "lr": 0.7, "schedule": "cosine", "weight_decay": 1e-4, "augment": True,
    "warmup_epochs": 5, "devices": 8, "image_size": 224, "pretrained": False, "model": "torchvision/resnet50",
    "schedule_every": "step", "nesterov": False, "precision": "16-mixed", "train_size": None, "test_crop": 0.875,
    "crop_scale": 0.08, "label_smoothing": 0,
}  # fmt: skip


def asked(name):
    """The request that a recipe becomes."""
    words = with_recipe(["train", "--recipe", name])
    return tyro.cli(Train, args=words[1:], config=(tyro.conf.OmitArgPrefixes,))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cifar10-pyramidnet200", CIFAR | {"data": "cifar10"}),
        ("cifar100-pyramidnet200", CIFAR | {"data": "cifar100"}),
        ("imagenet-resnet50", IMAGENET),
        ("imagenet-resnet50-cutmix", IMAGENET),
    ],
)
def test_the_settings_are_those_of_the_authors_code(name, settings):
    values = asked(name).values()
    assert {key: values[key] for key in settings} == pytest.approx(settings)


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
    method = parse_method(asked(name).method)
    assert (method.mixer.norm, method.mixer.p, method.mixer.lam, method.at) == ("pono", p, lam, (at,))


def test_cutmix_goes_before_moex_on_every_batch_with_the_same_partner():
    method = parse_method(asked("imagenet-resnet50-cutmix").method)
    assert (method.inputs.kind, method.inputs.p, method.inputs.alpha) == ("cutmix", 1.0, 1.0)
    assert method.mixer.partner is partner_of_the_images


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


def test_the_recipes_become_settings_that_can_be_run():
    for name in RECIPES:
        assert asked(name).recipe == name
        asked(name).check()


@pytest.fixture(scope="module")
def pyramidnet():
    torch.manual_seed(0)
    return pyramidnet200_a240(100)


@pytest.mark.slow
def test_the_pyramidnet_has_the_authors_number_of_parameters(pyramidnet):
    """26,844,952 is what their own class has with 100 classes."""
    assert sum(parameter.numel() for parameter in pyramidnet.parameters()) == 26_844_952
    assert pyramidnet200_a240(7).eval()(torch.randn(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.slow
def test_the_pyramidnet_starts_from_the_authors_weights(pyramidnet):
    convolutions = [module for module in pyramidnet.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 3 * 66
    for module in convolutions:
        spread = (2 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels)) ** 0.5
        values = module.weight.detach().flatten() / spread
        assert float(values.std()) == pytest.approx(1, abs=5 / (2 * len(values)) ** 0.5)
        assert abs(float(values.mean())) < 5 / len(values) ** 0.5
        # A uniform distribution of this spread ends at 1.73.
        assert float(values.abs().max()) > 2


@pytest.mark.slow
def test_the_place_of_the_cifar_recipe_ends_in_a_norm_and_no_relu(pyramidnet):
    assert [type(module) for module in pyramidnet.get_submodule("features.init_block").children()] == [
        nn.Conv2d,
        nn.BatchNorm2d,
    ]


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_recipe_runs_on_files_in_the_format_of_cifar(tmp_path, capsys, monkeypatch):
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, number in (("train", 200), ("test", 100)):
        pixels = random.integers(0, 256, (number, 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": [i % 100 for i in range(number)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {i}" for i in range(100)]}))
    # Files with other checksums than the published ones are not unpickled.
    for part, name in (("train_list", "train"), ("test_list", "test")):
        monkeypatch.setattr(datasets.CIFAR100, part, [(name, md5_of(folder / name))])
    meta = datasets.CIFAR100.meta | {"md5": md5_of(folder / "meta")}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    # The same place in a smaller network of the same library.
    flags = ["--model", "pytorchcv/resnet20_cifar100", "--epochs", "1", "--data-dir", str(tmp_path)]
    code = main(["train", "--recipe", "cifar100-pyramidnet200", *flags, "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert "after 1 epoch, " in told.out


def test_the_command_line_of_the_process_is_expanded_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["torchmoments", "train", "--recipe", "nothing"])
    assert main() == 2
    assert "recipe needs a known name" in capsys.readouterr().err


@pytest.mark.slow
def test_the_imagenet_recipe_runs_on_pictures_with_its_learning_rates(tmp_path, capsys):
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("n01", "n02"):
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            for index in range(8):
                Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{index}.JPEG")
    # On a CPU, and small; what remains are the schedule, the momentum, the cut of test pictures and the method.
    small = "--model torchvision/resnet18 --image-size 32 --batch-size 8 --lr 0.01 --epochs 4 --warmup-epochs 2"
    here = "--device cpu --devices 1 --precision 32-true --loader-workers 0"
    flags = [*small.split(), *here.split(), "--data", f"folder:{tmp_path / 'imagenet'}"]
    out = tmp_path / "out"
    code = main(["train", "--recipe", "imagenet-resnet50-cutmix", *flags, "--out", str(out)])
    assert code == 0, capsys.readouterr().err
    settings = json.loads((out / "config.json").read_text())
    assert settings["method"] == asked("imagenet-resnet50-cutmix").method
    assert (settings["nesterov"], settings["schedule_every"], settings["test_crop"]) == (False, "step", 0.875)
    # Two steps an epoch: 1/4, 2/4, 3/4, 4/4 of lr, then half a cosine over four steps.
    rates = [float(row["lr"]) for row in csv.DictReader((out / "metrics.csv").open())]
    assert rates == pytest.approx([0.0025, 0.0075, 0.01, 0.005])
