"""Look at the moments of images in a network, and at their exchange; pictures and one page.

OUT/moments-untrained.png, moments-trained.png     maps of mean and std, layer by layer
OUT/exchange-untrained.png, exchange-trained.png   with two images: what the first becomes with moments of the second
OUT/inspect.html                                   all of them, offline
OUT/inspect.json                                   the request
OUT/runs/none/seed0                                the training, with --train
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

import torchmoments as tm
from torchmoments_lab.files import write_bytes, write_record, write_text
from torchmoments_lab.inspect import figures
from torchmoments_lab.inspect.figures import Tile
from torchmoments_lab.inspect.maps import as_colors, channel_first, images_of, layers, layers_to_draw
from torchmoments_lab.inspect.page import GREY, page
from torchmoments_lab.inspect.pictures import Frame, load_frame
from torchmoments_lab.lock import working_in
from torchmoments_lab.models.place import default_place
from torchmoments_lab.probe.views import Source
from torchmoments_lab.report.drawing import Drawing, draw
from torchmoments_lab.requests import Inspect
from torchmoments_lab.resolve import Notice, resolve, silent
from torchmoments_lab.runs import Run
from torchmoments_lab.settings import Judging
from torchmoments_lab.training.device import check_device

_RECORD, _PAGE = "inspect.json", "inspect.html"


def inspect(request: Inspect, notice: Notice = silent) -> list[Path]:
    """Draw, and write the pictures and the page to the folder; returns their paths, the page last.

    Args:
        notice: called with what was decided that the request does not say.

    Raises:
        ValueError: the request makes no sense, or the folder is for something else. Then nothing was written.
        RuntimeError: the training failed.
    """
    request.check()
    remarks: list[str] = []
    check_device(request.training)
    experiment = resolve(request, Judging(), ["none"], notice=remarks.append).experiment
    shape = experiment.data.shape
    if shape is not None and len(shape) != 3:
        raise ValueError(f"inspect needs images [C, H, W], which it draws; those of the data are {list(shape)}.")
    settings = replace(request.model, weights=None, pretrained=False, fine_tune=False)
    untrained = replace(experiment.network, settings=settings).initial(experiment.random_seed(request.seed))
    untrained.module.eval()
    frame = load_frame(request.image, experiment.data, untrained.input)
    names = layers_to_draw(untrained.module, frame.inputs, request.at)
    # A layer without maps is refused before anything is written.
    layers(untrained.module, frame.inputs, names)
    remarks += [GREY] if frame.is_grey else []
    for sentence in remarks:
        notice(sentence)
    with working_in(request.out, _RECORD, "inspect"):
        run = Run.of_many(request.out, experiment, experiment.methods[0], request.seed, keeps_weights=True)
        # Refuses another one, before anything is written.
        _ = request.train and run.is_complete()
        record = {"images": list(request.image), "layers": names, "settings": dict(experiment.shared)}
        write_record(request.out / _RECORD, record)
        models = {"untrained": untrained.module}
        if request.train or request.model.fine_tunes:
            models["trained"] = _trained(run, train=request.train)
        pictures: dict[str, Drawing] = {}
        for state, model in models.items():
            pictures |= _pictures(frame, model, names, state, invert=request.invert)
        # Those of an earlier request.
        for name in {f"{kind}-{state}" for kind in ("moments", "exchange") for state in ("untrained", "trained")}:
            (request.out / f"{name}.png").unlink(missing_ok=True)
        for name, drawing in pictures.items():
            write_bytes(request.out / f"{name}.png", drawing.png)
        write_text(request.out / _PAGE, page(request.model.model, request.image, pictures, is_grey=frame.is_grey))
    return [*(request.out / f"{name}.png" for name in pictures), request.out / _PAGE]


def _trained(run: Run, *, train: bool) -> nn.Module:
    """The network with the weights that it starts from, or those of a training."""
    if train and (reason := run.train()) is not None:
        raise RuntimeError(reason)
    module = run.experiment.network.initial(run.experiment.random_seed(run.seed)).module.eval()
    if train:
        module.load_state_dict(run.weights())
    return module


def _pictures(frame: Frame, model: nn.Module, names: list[str], state: str, *, invert: bool) -> dict[str, Drawing]:
    found = layers(model, frame.inputs, names)
    drawn = {f"moments-{state}": draw(f"moments-{state}", lambda: figures.moment_maps(frame.pixels, found))}
    if len(frame.pixels) > 1:
        rows = _exchange(model, frame, _places(model, frame, names), invert)
        drawn[f"exchange-{state}"] = draw(f"exchange-{state}", lambda: figures.tiles(rows))
    return drawn


def _places(model: nn.Module, frame: Frame, names: list[str]) -> list[str]:
    """The place after the stem if it is drawn, otherwise the first layer that is; of grey images the next layer too."""
    try:
        place = default_place(model, frame.inputs)
    except ValueError:
        place = names[0]
    first = names.index(place) if place in names else 0
    return names[first : first + 1 + frame.is_grey]


def _exchange(model: nn.Module, frame: Frame, places: list[str], invert: bool) -> list[tuple[str, list[Tile]]]:
    """What A becomes with moments of B: of its pixels, of its features, and images that have such features."""
    titles = ("A", "B", "A normalized (pono)", "A with B's pono", "A with B's in")
    pixels = frame.pixels[:2]
    shown: list[Tensor | None]
    if frame.is_grey:
        shown = [*pixels, None, None, tm.exchange(pixels, torch.tensor([1, 0]), "in")[0]]
    else:
        own, other, normalized, *exchanged = _exchanged(pixels)
        shown = [own, other, figures.stretched(normalized), *exchanged]
    rows = [("pixels", [Tile(picture, title) for picture, title in zip(shown, titles, strict=True)])]
    for place in places:
        features = channel_first(model, frame.inputs[:2], place)
        own, other, normalized, *exchanged = _exchanged(features)
        first, second, *others = as_colors(torch.stack([own, other, *exchanged]), features)
        colors = [first, second, as_colors(normalized[None], normalized[None])[0], *others]
        heads = titles if frame.is_grey and place == places[0] else [""] * len(titles)
        rows.append((f"features\nat {place}", [Tile(c, head) for c, head in zip(colors, heads, strict=True)]))
    if invert:
        source = Source(model, places[0])
        wanted = torch.stack(_exchanged(channel_first(model, frame.inputs[:2], places[0])))
        found = images_of(lambda p: source.with_gradient(frame.to_inputs(p)), wanted, pixels.shape[1:])
        rows.append(("images with\nsuch features", [Tile(picture) for picture in found]))
    return rows


def _exchanged(x: Tensor) -> list[Tensor]:
    """[A, B, A normalized, A with the pono moments of B, A with the in moments of B], from x [2, C, H, W]."""
    swap = torch.tensor([1, 0], device=x.device)
    return [x[0], x[1], tm.normalize(x, "pono")[0][0], *(tm.exchange(x, swap, norm)[0] for norm in ("pono", "in"))]
