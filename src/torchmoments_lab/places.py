"""`torchmoments places`: what a method can be attached to in a model, as a table."""

from collections.abc import Iterator

import torch
from rich.text import Text

import torchmoments as tm
from torchmoments_lab.data.describe import sentences
from torchmoments_lab.models.place import default_place
from torchmoments_lab.models.trial import output_of
from torchmoments_lab.report.page import Table
from torchmoments_lab.report.terminal import Fitted
from torchmoments_lab.report.wording import NONE
from torchmoments_lab.requests import Places
from torchmoments_lab.resolve import Notice, load_data, network_for, silent
from torchmoments_lab.settings import Judging, Preprocessing
from torchmoments_lab.training.feed import Feed

# A shape stands on one line.
_TIMES = "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}"


def list_places(request: Places, notice: Notice = silent) -> Iterator[Fitted | Text]:
    """A table of the model's modules in the order in which they finish, and a sentence on the default place.

    Args:
        notice: called with what was decided that the request does not say.

    Raises:
        ValueError: there is no such model or data, or they do not fit.
    """
    request.check()
    judging = Judging()
    data = load_data(request.data, judging)
    remarks = sentences(data, judging.evaluate)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built = network_for(request.model, data).build()
        x = Feed(data, built.input, Preprocessing(), torch.device("cpu")).example(2)
        output_of(built.module.eval(), x, request.model.model)
    found = tm.places(built.module, x)
    try:
        default = default_place(built.module, x)
    except ValueError as error:
        default, about = None, str(error).replace("torchmoments.places(model) lists all", "all are listed above")
    else:
        about = (
            f"'{default}' is the place of a method that does not say at=: the first place after the stem at which "
            "an exchange of moments has an effect."
        )
    for sentence in remarks:
        notice(sentence)
    rows = []
    for place in found:
        if place.name.count(".") >= request.depth and place.name != default:
            continue
        shape = NONE if place.shape is None else _TIMES.join(["B", *map(str, place.shape[1:])])
        mark = "*" if place.name == default else ""
        rows.append([mark, place.name, shape, place.kind, str(place.calls)])
    yield Fitted(Table("", ["", "name", "shape", "kind", "calls"], rows, names=4, spare=("kind", "calls")))
    yield Text(f"\n{about[0].upper()}{about[1:]} The images are {' x '.join(map(str, x.shape[1:]))}.")
