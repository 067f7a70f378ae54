"""Weights from files: what is loaded, what may differ, what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from torchmoments_lab.models.small import SmallResNet
from torchmoments_lab.models.weights import load_file


def network(classes=4):
    return SmallResNet(1, classes, width=4)


@pytest.fixture
def given():
    torch.manual_seed(0)
    return network().state_dict()


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_weights_come_back_as_they_were_written(tmp_path, given, ending):
    path = tmp_path / f"weights{ending}"
    (save_file if ending == ".safetensors" else torch.save)(given, path)
    model = network()
    assert load_file(model, path, classes=4) == ()
    assert all(tensor.equal(given[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_checkpoints_of_training_scripts_are_understood(tmp_path, given, wrap):
    torch.save(wrap(given), tmp_path / "weights.pt")
    model = network()
    assert load_file(model, tmp_path / "weights.pt", classes=4) == ()
    assert model.layer3.conv2.weight.equal(given["layer3.conv2.weight"])


@pytest.mark.parametrize("without", [False, True])
def test_a_classifier_for_other_classes_stays_new(tmp_path, given, without):
    if without:
        given = {name: tensor for name, tensor in given.items() if not name.startswith("fc.")}
    torch.save(given, tmp_path / "weights.pt")
    model = network(classes=7)
    before = model.fc.weight.clone()
    assert load_file(model, tmp_path / "weights.pt", classes=7) == ("fc",)
    assert model.fc.weight.equal(before)
    assert model.stem[0].weight.equal(given["stem.0.weight"])


def refused(tmp_path, content, sentence):
    torch.save(content, tmp_path / "weights.pt")
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        load_file(model, tmp_path / "weights.pt", classes=4)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_do_not_fit_name_their_keys(tmp_path, given):
    given["layer9.conv.weight"] = torch.zeros(3)
    given["layer1.conv1.weight"] = torch.zeros(2, 2)
    given["layer1.bn1.weight"] = torch.zeros(2)
    for name in ("stem.0.weight", "stem.1.weight", "stem.1.bias", "stem.1.running_mean"):
        del given[name]
    refused(
        tmp_path,
        given,
        r"4 missing: stem.0.weight, stem.1.weight, stem.1.bias and 1 more; 1 not in the model: layer9.conv.weight; "
        r"2 of another shape: layer1.conv1.weight \[2, 2\] for \[4, 4, 3, 3\], layer1.bn1.weight \[2\] for \[4\]",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.to(torch.int8), "int8"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t > 0, "bool"),
        (lambda t: t.to_sparse(), "sparse_coo"),
        (lambda t: t.to("meta"), "without data"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "quantized"),
        (lambda t: t.index_fill(0, torch.tensor([1]), float("nan")), "not finite"),
        (lambda t: t.index_fill(0, torch.tensor([1]), float("inf")), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_tensors_that_would_become_something_else_are_refused(tmp_path, given, change, why):
    given["layer1.conv1.weight"] = change(given["layer1.conv1.weight"])
    refused(tmp_path, given, rf"are 1 of another kind: layer1\.conv1\.weight \({why}\)\.")


def test_half_and_double_precision_are_taken(tmp_path, given):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        kept = {name: t.to(dtype) if t.is_floating_point() else t for name, t in given.items()}
        torch.save(kept, tmp_path / "weights.pt")
        model = network()
        load_file(model, tmp_path / "weights.pt", classes=4)
        assert model.stem[0].weight.equal(kept["stem.0.weight"].float())


def test_a_file_of_other_objects_is_not_unpickled(tmp_path, given, capfd):
    class Evil:
        def __reduce__(self):
            return print, ("code of the file ran",)

    refused(tmp_path, {**given, "evil": Evil()}, "holds other objects too, or is damaged, and is not unpickled")
    assert "ran" not in capfd.readouterr().out


def test_a_file_that_is_damaged_or_no_weights_is_refused(tmp_path, given):
    refused(tmp_path, [1, 2, 3], "names and tensors; got list")
    refused(tmp_path, {"accuracy": 3.0}, "names and tensors")
    refused(tmp_path, {0: torch.zeros(2)}, "names and tensors")
    refused(tmp_path, {}, "names and tensors")
    for name, content in (("cut.pt", b"PK\x03\x04 cut"), ("cut.safetensors", b"\x08"), ("text.pt", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"weights need .*{name}"):
            load_file(network(), tmp_path / name, classes=4)
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="is not unpickled"):
        load_file(network(), tmp_path / "pickle.pt", classes=4)
