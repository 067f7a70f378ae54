"""Exported networks: their probabilities, for batches of any size, and what stands in the files and beside them."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from torchmoments_lab import predict
from torchmoments_lab.inference import export as exporting
from torchmoments_lab.inference.export import ENTRY, export
from torchmoments_lab.inference.trained import load_trained
from torchmoments_lab.metadata import Metadata
from torchmoments_lab.training.preparation import Preparation
from torchmoments_lab.training.reader import Reader

# They train.
pytestmark = pytest.mark.slow

WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def inputs(pictures, runs):
    """The test pictures as the network gets them."""
    images = [Image.open(path) for path in sorted(pictures.glob("test/*/*"))]
    (x,) = Reader(Metadata.read(runs[0] / WEIGHTS).preparation, torch.device("cpu")).batches(images, 100)
    return x


def run_program(path, x):
    program = torch.export.load(path).module()
    return program(x).detach().numpy()


def run_onnx(path, x):
    runtime = pytest.importorskip("onnxruntime")
    (probabilities,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"images": x.numpy()}
    )
    return probabilities


def run_reference(path, x):
    reference = pytest.importorskip("onnx.reference")
    (probabilities,) = reference.ReferenceEvaluator(str(path)).run(None, {"images": x.numpy()})
    return probabilities


@pytest.mark.parametrize("run", [run_program, run_reference, run_onnx])
def test_probabilities_are_those_of_the_network_for_every_batch_size(runs, pictures, inputs, tmp_path, run):
    if run is not run_program:
        pytest.importorskip("onnxscript")
    path = tmp_path / ("model.pt2" if run is run_program else "model.onnx")
    assert export(runs[0] / WEIGHTS, path) == [path, tmp_path / f"{path.name}.json"]
    expected = predict(runs[0] / WEIGHTS, pictures / "test").probabilities
    for number in (1, 2, 5, 12):
        np.testing.assert_allclose(run(path, inputs[:number]), expected[:number], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("model", "ending"),
    [
        pytest.param("timm/vit_tiny_patch16_224", ".pt2", marks=pytest.mark.thorough),
        ("timm/resnet10t", ".onnx"),
    ],
)
def test_networks_of_libraries_are_exported(train, pictures, tmp_path, model, ending):
    if ending == ".onnx":
        pytest.importorskip("onnxscript")
    settings = {"model": model, "image_size": 32, "method": "none"}
    run = train(data=f"folder:{pictures}", **settings)
    export(run / WEIGHTS, tmp_path / f"model{ending}")
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = load_trained(run / WEIGHTS).module
    with torch.inference_mode():
        expected = network(x).softmax(1).numpy()
    found = (run_program if ending == ".pt2" else run_reference)(tmp_path / f"model{ending}", x)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_the_description_is_in_the_program_and_beside_it(call, runs, tmp_path):
    out = tmp_path / "new" / "model.pt2"
    code, said, complaint = call("export", "--weights", str(runs[1] / WEIGHTS), "--out", str(out))
    assert (code, complaint) == (0, "")
    assert said.splitlines() == [str(out), f"{out}.json"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["model.pt2", "model.pt2.json"]
    found = json.loads((out.parent / "model.pt2.json").read_text())
    assert found["input"]["shape"] == ["batch", 3, 24, 24]
    assert found["input"]["prepared"] == (
        "RGB, upright, transparent parts over white; the shorter side resized to 30 (bilinear, antialiased); the "
        "middle 24 x 24; (pixel / 255 - mean) / std"
    )
    assert found["output"] == {"name": "probabilities", "shape": ["batch", 2], "type": "float32"}
    assert (found["classes"], found["seed"], found["preparation"]["test_crop"]) == (["cat", "dog"], 1, 0.8)
    inside = {ENTRY: ""}
    torch.export.load(out, extra_files=inside)
    assert json.loads(inside[ENTRY]) == found


def test_the_description_is_in_the_onnx_file(runs, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    export(runs[1] / WEIGHTS, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    inside = {entry.key: entry.value for entry in model.metadata_props}[ENTRY]
    assert inside == (tmp_path / "model.onnx.json").read_text()
    (shape,) = (value.type.tensor_type.shape.dim for value in model.graph.input)
    # PyTorch 2.6 does not keep the name.
    batch = "s0" if torch.__version__ < (2, 7) else "batch"
    assert [dim.dim_param or dim.dim_value for dim in shape] == [batch, 3, 24, 24]


def test_the_input_of_tensors_is_described(train, tmp_path):
    run = train(train_size=40)
    _, path = export(run / WEIGHTS, tmp_path / "model.pt2")
    takes = json.loads(path.read_text())["input"]
    assert (takes["shape"], takes["prepared"]) == (["batch", 1, 8, 8], "(pixel / 16 - mean) / std")


def test_deep_pictures_are_described():
    of = Preparation("pictures", None, 32, 3, True, 1.0, 255.0, (0.5,), (0.25,), (300.0, 3999.0))
    assert "pixel = 255 (value - 300) / (3999 - 300)" in exporting.in_words(of)
    assert exporting.in_words(replace(of, kind="normalized", shape=(4,))) == "as in the training: normalized"


MODEL = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
    def forward(self, x):
        means = x.mean((2, 3))
        return self.fc(means if means.sum().item() > 0 else -means)
def make_model():
    return Net()
"""


def test_a_network_that_cannot_be_exported_is_one_sentence(call, train, pictures, tmp_path, monkeypatch):
    (tmp_path / "branching.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    run = train(data=f"folder:{pictures}", model="branching:make_model", method="none")
    out = tmp_path / "model.pt2"
    code, said, complaint = call("export", "--weights", str(run / WEIGHTS), "--out", str(out))
    assert (code, said) == (2, "")
    assert complaint.startswith("model 'branching:make_model' cannot be exported to .pt2: ")
    assert complaint.count("\n") == 1
    assert not out.exists()


def test_a_wrong_request_is_one_sentence(call, runs, tmp_path, monkeypatch):
    def refused(*flags):
        code, said, complaint = call("export", *map(str, flags))
        assert (code, said, complaint.count("\n")) == (2, "", 1)
        assert list(tmp_path.iterdir()) == []
        return complaint

    weights = ["--weights", runs[0] / WEIGHTS]
    assert "weights needs a file; got none" in refused()
    assert "which is a folder. Write" in refused("--weights", runs[0])
    assert "ending in .pt2 or .onnx" in refused(*weights, "--out", tmp_path / "model.pt")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'torchmoments[export]'" in refused(*weights, "--out", tmp_path / "model.onnx")


def test_an_object_with_logits_is_understood():
    class Output:
        logits = torch.zeros(2, 4)

    class Net(nn.Module):
        def forward(self, x):
            return Output()

    assert exporting.Probabilities(Net())(torch.zeros(2, 3)).equal(torch.full((2, 4), 0.25))
