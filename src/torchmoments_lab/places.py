"""`torchmoments places`: what a method can be attached to in a model, as a table."""

from collections.abc import Iterator

import torch
from rich.table import Table
from rich.text import Text

import torchmoments as tm
from torchmoments_lab.config import PlacesConfig, TrainConfig
from torchmoments_lab.data.describe import sentences
from torchmoments_lab.models.place import default_place
from torchmoments_lab.models.trial import output_of
from torchmoments_lab.prepare import Notice, silent
from torchmoments_lab.report.terminal import empty
from torchmoments_lab.training.feed import Feed
from torchmoments_lab.training.task import Task


def list_places(config: PlacesConfig, notice: Notice = silent) -> Iterator[Table | Text]:
    """A table of the model's modules in the order in which they finish, and a sentence on the default place.

    Args:
        notice: is told what was decided that the settings do not say.

    Raises:
        ValueError: there is no such model or data, or they do not fit.
    """
    settings = {name: getattr(config, name) for name in ("data", "data_dir", "model", "width", "weights", "pretrained")}
    task = Task(TrainConfig(**settings, image_size=config.image_size))
    data = task.load()
    told = sentences(data, task.config.evaluate)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built = task.build(data)
        x = Feed(data, built.input, task.config, torch.device("cpu")).example(2)
        output_of(built.module.eval(), x, config.model)
    found = tm.places(built.module, x)
    try:
        default = default_place(built.module, x)
    except ValueError as error:
        default, said = None, str(error)
    else:
        said = (
            f"'{default}' is where a method goes that does not say at=: the first place after the stem at which "
            "an exchange of moments has an effect."
        )
    for sentence in told:
        notice(sentence)
    table = empty()
    for heading in ("", "name", "shape", "kind", "calls"):
        table.add_column(heading, justify="right" if heading == "calls" else "left", overflow="fold")
    for place in found:
        if place.name.count(".") >= config.depth and place.name != default:
            continue
        shape = "-" if place.shape is None else " x ".join(["B", *map(str, place.shape[1:])])
        mark = "*" if place.name == default else ""
        table.add_row(mark, Text(place.name), shape, place.kind, str(place.calls))
    yield table
    yield Text(f"\n{said} The images are {' x '.join(map(str, x.shape[1:]))}.")
