"""A trained network as a file that runs without torchmoments: a program of torch.export (.pt2), or ONNX (.onnx).

OUT         the network, of prepared `images` [batch, C, H, W] float32; it gives `probabilities` [batch, classes]
OUT.json    what the file of weights says, and what goes in and comes out; the same is in OUT under "torchmoments.json"
"""

import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchmoments_lab.files import write_bytes, write_text
from torchmoments_lab.inference.trained import load_trained
from torchmoments_lab.metadata import Metadata
from torchmoments_lab.models.network import logits
from torchmoments_lab.training.preparation import Preparation
from torchmoments_lab.typed import one_line

# Of the entry in the file that has its description.
ENTRY = "torchmoments.json"
# Any but 1, which would be taken for a constant.
_TRACED = 2


class Probabilities(nn.Module):
    """A network with the softmax that its scores go through."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return logits(self.network(images)).float().softmax(1)


def export(weights: Path, out: Path) -> list[Path]:
    """Write the network of a file of weights to OUT, and its description to OUT.json; returns both paths.

    Raises:
        ValueError: the ending is neither .pt2 nor .onnx, a package is missing, the network cannot be built, see
            `load_trained`, or cannot be exported.
    """
    writers = {".pt2": _program, ".onnx": _onnx}
    if out.suffix not in writers:
        raise ValueError(f"out needs a file ending in .pt2 or .onnx; got '{out}'.")
    if out.suffix == ".onnx" and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise ValueError(
            "ONNX needs the packages onnx and onnxscript. Install them with: pip install 'torchmoments[export]'"
        )
    trained = load_trained(weights)
    text = _description(trained.metadata)
    # The layout of training is faster there, and is none of the file's business.
    model = Probabilities(trained.module.to(memory_format=torch.contiguous_format)).eval()
    images = torch.zeros(_TRACED, *trained.metadata.preparation.input_shape)
    try:
        with _quiet():
            content = writers[out.suffix](model, images, text)
    except Exception as error:
        # The compiler of a user's network may raise anything.
        raise ValueError(
            f"model {trained.metadata.model!r} cannot be exported to {out.suffix}: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
    described = out.with_name(f"{out.name}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(described, text)
    write_bytes(out, content)
    return [out, described]


def _description(metadata: Metadata) -> str:
    shape = ["batch", *metadata.preparation.input_shape]
    takes = {"name": "images", "shape": shape, "type": "float32", "prepared": in_words(metadata.preparation)}
    gives = {"name": "probabilities", "shape": ["batch", len(metadata.classes)], "type": "float32"}
    return json.dumps({"input": takes, "output": gives, **json.loads(metadata.as_json())}, indent=2) + "\n"


def in_words(of: Preparation) -> str:
    """How images are prepared, in words."""
    if of.kind == "normalized":
        return "as in the training: normalized"
    filter_ = f"{'bicubic' if of.bicubic else 'bilinear'}, antialiased"
    normalized = f"(pixel / {of.peak:g} - mean) / std"
    if of.kind == "pixels":
        return normalized if of.size is None else f"resized to {of.size} x {of.size} ({filter_}); {normalized}"
    assert of.size is not None
    side = math.ceil(of.size / of.test_crop)
    deep = ""
    if of.levels is not None:
        low, high = of.levels
        deep = (
            f"; of more than 8 bits: pixel = 255 (value - {low:g}) / ({high:g} - {low:g}), neither rounded nor cut off"
        )
    return (
        f"RGB, upright, transparent parts over white{deep}; the shorter side resized to {side} ({filter_}); the middle "
        f"{of.size} x {of.size}; {normalized}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed or logged in the block: the exporters tell of every step, and print the code they stop at."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _program(model: nn.Module, images: Tensor, description: str) -> bytes:
    # PyTorch 2.6 exports attention only if the batch has a largest size.
    batch = torch.export.Dim("batch", max=2**31 - 1)
    program = torch.export.export(model, (images,), dynamic_shapes={"images": {0: batch}})
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ENTRY: description})
    return file.getvalue()


def _onnx(model: nn.Module, images: Tensor, description: str) -> bytes:
    program: Any = torch.onnx.export(
        model,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    program.model.metadata_props[ENTRY] = description
    content: bytes = program.model_proto.SerializeToString()
    return content
