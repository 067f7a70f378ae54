"""Look at the moments of images in a network, and at their exchange; pictures and one page.

OUT/moments-untrained.png, moments-trained.png     maps of mean and std, layer by layer
OUT/exchange-untrained.png, exchange-trained.png   with two images: what the first becomes with moments of the second
OUT/inspect.html                                   all of them, offline
OUT/inspect.json                                   the request
OUT/runs/none/seed0                                the training, where --train asked for one
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.data.split import Data
from torchmoments_lab.files import write_bytes, write_record, write_text
from torchmoments_lab.inspect import figures
from torchmoments_lab.inspect.config import InspectConfig
from torchmoments_lab.inspect.figures import Tile
from torchmoments_lab.inspect.maps import as_colors, channel_first, images_of, layers, layers_to_draw
from torchmoments_lab.inspect.page import page
from torchmoments_lab.inspect.pictures import Frame, load_frame
from torchmoments_lab.lock import working_in
from torchmoments_lab.models import Built
from torchmoments_lab.models.place import default_place
from torchmoments_lab.models.weights import read_safetensors
from torchmoments_lab.prepare import Notice, prepare, silent
from torchmoments_lab.probe.runs import PlainRun
from torchmoments_lab.probe.views import Source
from torchmoments_lab.report.figures import as_files
from torchmoments_lab.runs import WEIGHTS
from torchmoments_lab.training.task import Task

_RECORD, _PAGE = "inspect.json", "inspect.html"


def inspect(config: InspectConfig, notice: Notice = silent) -> list[Path]:
    """Draw, and write the pictures and the page to the folder; gives their paths, the page last.

    Args:
        notice: is told what was decided that the settings do not say.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
        RuntimeError: the training failed.
    """
    said: list[str] = []
    task = prepare(config, ("none",), notice=said.append)
    data = task.load()
    untrained = _build(replace(task, config=replace(task.config, weights=None, pretrained=False)), data, config.seed)
    frame = load_frame(task.config, config.image, data, untrained.input)
    names = layers_to_draw(untrained.module, frame.inputs, config.at)
    # A layer without maps is refused before anything is written.
    layers(untrained.module, frame.inputs, names)
    for sentence in said:
        notice(sentence)
    with working_in(config.out, _RECORD, "inspect"):
        run = PlainRun.of_comparison(config.out, task, "none", config.seed)
        # Refuses another one, before anything is written.
        _ = config.train and run.is_complete()
        write_record(config.out / _RECORD, {"images": list(config.image), "layers": names, "settings": task.settings()})
        models = {"untrained": untrained.module}
        if config.train or task.config.fine_tunes:
            models["trained"] = _trained(run, data) if config.train else _build(task, data, config.seed).module
        pictures: dict[str, bytes] = {}
        for state, model in models.items():
            pictures |= _pictures(config, frame, model, names, state)
        for name, content in pictures.items():
            write_bytes(config.out / f"{name}.png", content)
        write_text(config.out / _PAGE, page(task.config, config.image, pictures))
    return [*(config.out / f"{name}.png" for name in pictures), config.out / _PAGE]


def _build(task: Task, data: Data, seed: int) -> Built:
    """The network in eval mode; its initial weights are those of a training with this seed."""
    built = task.initial(data, seed)
    built.module.eval()
    return built


def _trained(run: PlainRun, data: Data) -> nn.Module:
    reason = run.train()
    if reason is not None:
        raise RuntimeError(reason)
    module = _build(run.task, data, run.seed).module
    module.load_state_dict(read_safetensors(run.folder / WEIGHTS))
    return module


def _pictures(config: InspectConfig, frame: Frame, model: nn.Module, names: list[str], state: str) -> dict[str, bytes]:
    found = layers(model, frame.inputs, names)
    drawn = {f"moments-{state}": as_files(lambda: figures.moment_maps(frame.pixels, found))["png"]}
    if len(frame.pixels) > 1:
        rows = _exchange(model, frame, _place(model, frame, names), config.invert)
        drawn[f"exchange-{state}"] = as_files(lambda: figures.exchanged(rows))["png"]
    return drawn


def _place(model: nn.Module, frame: Frame, names: list[str]) -> str:
    """The place after the stem where it is drawn, otherwise the first layer that is."""
    try:
        place = default_place(model, frame.inputs)
    except ValueError:
        return names[0]
    return place if place in names else names[0]


def _exchange(model: nn.Module, frame: Frame, place: str, invert: bool) -> list[tuple[str, list[Tile]]]:
    """What A becomes with moments of B: of its pixels, of its features, and images that have such features."""
    titles = ("A", "B", "A normalized (pono)", "A with B's pono", "A with B's in")
    rows = []
    pixels = frame.pixels[:2]
    # One channel has no moments over channels.
    if pixels.shape[1] > 1:
        own, other, normalized, *worn = _worn(pixels)
        shown = [own, other, figures.stretched(normalized), *worn]
        rows.append(("pixels", [Tile(picture, title) for picture, title in zip(shown, titles, strict=True)]))
    features = channel_first(model, frame.inputs[:2], place)
    own, other, normalized, *worn = _worn(features)
    colors = [*as_colors(torch.stack([own, other, *worn]), features), as_colors(normalized[None], normalized[None])[0]]
    colors.insert(2, colors.pop())
    heads = titles if not rows else [""] * len(titles)
    rows.append((f"features\nat {place}", [Tile(c, head) for c, head in zip(colors, heads, strict=True)]))
    if invert:
        source = Source(model, place)
        wanted = torch.stack([own, other, normalized, *worn])
        found = images_of(lambda p: source.with_gradient(frame.to_inputs(p)), wanted, pixels.shape[1:])
        rows.append(("images with\nsuch features", [Tile(picture) for picture in found]))
    return rows


def _worn(x: Tensor) -> list[Tensor]:
    """[A, B, A normalized, A with the pono moments of B, A with the in moments of B], from x [2, C, H, W]."""
    swap = torch.tensor([1, 0], device=x.device)
    return [x[0], x[1], tm.normalize(x, "pono")[0][0], *(tm.exchange(x, swap, norm)[0] for norm in ("pono", "in"))]
