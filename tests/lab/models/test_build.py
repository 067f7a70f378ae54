"""Models by name: libraries, a user's function, and what is refused."""

import pytest
import torch
from torch import nn

from torchmoments_lab.methods import parse_method
from torchmoments_lab.models import trial
from torchmoments_lab.models.network import Network
from torchmoments_lab.models.trial import check_method, check_runs
from torchmoments_lab.settings import ModelSettings


def made(classes=7, make_model=None, **settings):
    return Network(ModelSettings(**settings), classes, 3, make_model).build()


@pytest.mark.parametrize(
    "name", ["timm/resnet10t", "torchvision/resnet18", "torchvision/googlenet", "pytorchcv/resnet20", "small"]
)
def test_a_network_has_an_output_for_each_class(name):
    built = made(model=name)
    side = 64 if built.input.size == 224 else built.input.size or 32
    assert built.module.eval()(torch.randn(2, 3, side, side)).shape == (2, 7)
    assert built.input.mean is None


def test_a_cifar_network_is_that_of_the_number_of_classes():
    # pytorchcv has a resnet20 for CIFAR-10 and one for CIFAR-100; from it, one for any other number.
    assert made(model="pytorchcv/resnet20", classes=100).module.output.out_features == 100


def test_a_vision_transformer_is_made_for_the_size_asked_for():
    model = made(model="timm/vit_tiny_patch16_224", image_size=64).module
    assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 7)


def test_fine_tuning_takes_size_and_normalization_from_the_network(tmp_path):
    for library, name in (("timm", "resnet10t"), ("torchvision", "resnet18")):
        path = tmp_path / f"{library}.pt"
        torch.save(made(model=f"{library}/{name}", classes=5).module.state_dict(), path)
        built = made(model=f"{library}/{name}", weights=path)
        assert built.input.mean == pytest.approx((0.485, 0.456, 0.406))
        assert built.new_head == ("fc",)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("smal", "got 'smal'. Nearest: 'small'. All: small, timm/NAME, torchvision/NAME"),
        ("resnet18", "All: small, timm/NAME"),
        ("keras/resnet18", "All: small, timm/NAME"),
        ("timm/resnet188", "network of timm; got 'resnet188'. Nearest: 'resnet18"),
        ("torchvision/resnet188", "classifier of torchvision; got 'resnet188'. Nearest: 'resnet18"),
        ("pytorchcv/resnet11", "network of pytorchcv; got 'resnet11'. Nearest: 'resnet1"),
        ("no_such:make_model", "needs a module that can be imported"),
        ("torchvision.models:resnet188", "needs a function in torchvision.models; got 'resnet188'. Nearest: 'resnet1"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(model=name)


@pytest.mark.parametrize("name", ["timm/resnet10t", "torchvision/resnet18", "pytorchcv/resnet18"])
def test_a_failed_download_is_one_sentence(name, monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError("no\nnetwork")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr("pytorchcv.models.common.model_store.get_model_file", fail)
    with pytest.raises(
        ValueError, match=rf"pretrained weights of '{name}' could not be loaded \(OSError: no network\)"
    ):
        made(model=name, pretrained=True)


def test_pretrained_weights_of_torchvision_are_loaded_but_for_the_classifier(monkeypatch):
    original = made(model="torchvision/resnet18", classes=1000).module.state_dict()
    asked = {}

    def download(url, **keywords):
        asked.update(keywords)
        return original

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    built = made(model="torchvision/resnet18", pretrained=True)
    assert asked["weights_only"] is True
    assert built.module.layer4[1].conv2.weight.equal(original["layer4.1.conv2.weight"])
    assert built.new_head == ("fc",)


def test_a_users_function_gets_the_number_of_classes_where_it_takes_it():
    def with_classes(num_classes):
        return nn.Linear(2, num_classes)

    assert made(make_model=with_classes).module.out_features == 7
    assert made(make_model=lambda: nn.Linear(2, 5)).module.out_features == 5
    assert made(model="torchvision.models:resnet18").module.fc.out_features == 7


def test_a_function_that_fails_or_gives_no_module_is_refused():
    with pytest.raises(ValueError, match="to give a torch.nn.Module; got int"):
        made(make_model=lambda: 3)
    with pytest.raises(ValueError, match="it raised ZeroDivisionError"):
        made(make_model=lambda: 1 / 0)


class Wrapped(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.fc = nn.Linear(64, 10)
        self.give = give

    def forward(self, x):
        return self.give(self.fc(x.flatten(1)))


class Output:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    ("give", "sentence"),
    [
        (lambda out: out[:, :4], r"each of the 10 classes of the data, \[4, 10\]; got \[4, 4\]"),
        (lambda out: (out, out), "logits as a tensor, or an object with `logits`; got tuple"),
        (lambda out: out.reshape(3, 7), r"to run on images \[1, 8, 8\]; it raised RuntimeError"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(give, sentence):
    network = made(10, lambda: Wrapped(give)).module
    with pytest.raises(ValueError, match=sentence):
        check_runs(network, torch.rand(4, 1, 8, 8), 10, "net")


def raises(error):
    def give(out):
        raise error

    return give


class OfTwo(Wrapped):
    def forward(self, x, mask, scale=1.0):
        return self.fc(x.flatten(1))


class TwoInTraining(Wrapped):
    def forward(self, x):
        out = self.fc(x.flatten(1))
        return (out, out) if self.training else out


@pytest.mark.parametrize("error", [IndexError("range"), KeyError("mask"), ValueError("many"), Exception("x")])
def test_whatever_a_model_raises_is_one_sentence(error):
    network = made(10, lambda: Wrapped(raises(error))).module
    with pytest.raises(ValueError, match=rf"to run on images \[1, 8, 8\]; it raised {type(error).__name__}: .*Choose"):
        check_runs(network, torch.rand(4, 1, 8, 8), 10, "net")


def test_a_model_of_two_inputs_is_refused_by_its_signature():
    network = made(10, lambda: OfTwo(None)).module
    sentence = r"needs a forward\(images\) without other inputs; got forward\(x, mask, scale=1.0\).*Wrap the network"
    with pytest.raises(ValueError, match=sentence):
        check_runs(network, torch.rand(4, 1, 8, 8), 10, "net")


def test_a_model_that_gives_something_else_in_train_mode_is_refused():
    network = made(10, lambda: TwoInTraining(None)).module
    with pytest.raises(ValueError, match="or an object with `logits`; got tuple in train mode"):
        check_runs(network, torch.rand(4, 1, 8, 8), 10, "net")


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LazyConv2d(4, 3),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.LazyBatchNorm2d()),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.LazyLinear(10)),
    ],
)
def test_parameters_without_a_shape_are_refused_until_the_network_has_run(make):
    lazy = make()
    with pytest.raises(ValueError, match=r"parameters that have their shapes; '.*weight' gets .*Run the network"):
        made(make_model=lambda: lazy)
    lazy(torch.zeros(2, 1, 8, 8))
    assert made(make_model=lambda: lazy).module is lazy


def test_an_object_with_logits_will_do():
    network = made(10, lambda: Wrapped(Output)).module
    check_runs(network, torch.rand(4, 1, 8, 8), 10, "net")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("moex:at=layer5", "layer"),
        ("moex:norm=gn7,at=stem+layer1", "7"),
        ("moex:norm=in,at=stem+fc", "fc"),
        ("labels:at=nowhere", "nowhere"),
        ("crossnorm:crop=both", "4 x 4 positions"),
        ("cutmix+dsu:at=fc", "fc"),
    ],
)
def test_a_method_that_does_not_fit_the_network_is_refused(spec, sentence):
    network, x = made(10, width=4).module, torch.rand(4, 3, 8, 8)
    with pytest.raises(ValueError, match=sentence) as caught:
        check_method(network, parse_method(spec), x, "stem")
    assert spec in str(caught.value)
    check_method(network, parse_method("moex:at=stem+layer1"), x, "stem")


def test_boxes_are_cut_from_images_alone():
    for spec in ("cutmix", "cutmix+moex"):
        with pytest.raises(
            ValueError, match=r"needs images \[C, H, W\], .*; those of the data are \[3, 8\]. Write mixup"
        ):
            check_method(torch.nn.Identity(), parse_method(spec), torch.rand(4, 3, 8), None)


def test_whatever_a_network_raises_while_it_is_mixed_names_the_model(monkeypatch):
    def fail(*arguments):
        raise IndexError("range")

    monkeypatch.setattr(trial, "check_method", fail)
    network = Network(ModelSettings(model="small", width=4), 10, 3)
    with pytest.raises(
        ValueError, match=r"model 'small' needs to run on images \[3, 8, 8\]; it raised IndexError: range"
    ):
        trial.try_network(network, [parse_method("moex")], lambda wanted: torch.rand(4, 3, 8, 8))


@pytest.mark.parametrize(("bad", "why"), [("1.weight", r"nor is its 1\.weight"), (None, "though its weights are")])
def test_numbers_that_are_not_finite_are_told_apart_from_a_learning_rate(bad, why):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    x = torch.rand(4, 1, 8, 8)
    if bad is None:
        x *= 1e38
        nn.init.constant_(network[1].weight, 1e38)
    else:
        network.state_dict()[bad][0, 0] = float("nan")
    with pytest.raises(ValueError, match=f"model 'net' needs to give finite numbers; .*, {why}. Repair it."):
        check_runs(network, x, 10, "net")
