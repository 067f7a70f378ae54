"""Commands and flags as typed: one sentence on what is wrong, and the values that settings get."""

from dataclasses import fields
from pathlib import Path

import pytest

from torchmoments_lab.flags import check, value_of
from torchmoments_lab.requests import Compare, Places, Report, Sweep
from torchmoments_lab.settings import TrainingSettings

COMMANDS = {"compare": Compare, "sweep": Sweep, "places": Places, "report": Report}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "torchmoments needs a command; got none. All: compare, sweep, places, report."),
        ("comapre", "needs a command; got 'comapre'. Nearest: 'compare'."),
        ("--epochs 3", "needs a command; got '--epochs'."),
        ("compare --epoch 3", "compare has no option --epoch. Nearest: --epochs. All: torchmoments compare --help."),
        ("compare --mehtods none", "compare has no option --mehtods. Nearest: --methods."),
        ("compare --no-augmnt", "Nearest: --no-augment."),
        ("compare --xyzzy 3", "compare has no option --xyzzy. All: torchmoments compare --help."),
        ("compare --", "compare has no option --."),
        ("places --augment", "places has no option --augment."),
        ("compare --epochs", "epochs needs a value; got none. Write --epochs 1, for example."),
        ("compare --epochs --lr 0.1", "epochs needs a value; got none."),
        ("compare --epochs three", "epochs needs a whole number; got 'three'. Write --epochs 1, for example."),
        ("compare --epochs=3.5", "epochs needs a whole number; got '3.5'."),
        ("compare --lr fast", "lr needs a number; got 'fast'. Write --lr 0.1, for example."),
        ("compare --batch-size many", "batch_size needs a whole number; got 'many'. Write --batch-size 50"),
        ("compare --mean 0.5 x", "mean needs a number; got 'x'."),
        ("compare --metric speed", "metric needs one of error, balanced-error, auroc, "),
        ("compare --flips left", "flips needs one of none, horizontal, vertical, both; got 'left'."),
        ("compare -epochs 3", "compare needs two dashes before an option's name; got '-epochs'. Write --epochs, or"),
        ("compare --out -x", "compare needs two dashes before an option's name; got '-x'."),
        ("compare --epochs 3 4", "epochs needs one value; got 3 4. Write --epochs 3."),
        ("compare --augment yes", "augment needs no value; got yes. Write --augment alone, or leave it out."),
        ("compare digits --epochs 3", "compare needs an option's name before each value; got 'digits'."),
        ("report", "report needs out; got none. Write torchmoments report OUT."),
        ("report runs/a runs/b", "report needs an option's name before each value; got 'runs/b'."),
        ("report --metric auroc", "report needs out; got none."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words, sentence):
    with pytest.raises(ValueError, match="needs|has no") as refused:
        check(words.split(), COMMANDS)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        "compare",
        "compare --methods none moex --epochs 3 --lr=0.1 --no-augment --mean 0.5 0.5 0.5 --stop-at -0.3",
        "compare --train_size 30 --methods --flips None --looks",
        "sweep --controls None --grid lam=0.5/0.9 p=1",
        "report runs/a --metric auroc",
        "report --metric auroc runs/a",
    ],
)
def test_flags_that_tyro_can_read_pass(words):
    check(words.split(), COMMANDS)


@pytest.mark.parametrize(
    ("kind", "name", "texts", "value"),
    [
        (TrainingSettings, "epochs", ["3"], 3),
        (TrainingSettings, "epochs", ["None"], None),
        (TrainingSettings, "lr", ["1e-3"], 1e-3),
        (TrainingSettings, "optimizer", ["adamw"], "adamw"),
        (Sweep, "controls", ["labels", "mixstyle"], ("labels", "mixstyle")),
        (Sweep, "controls", [], ()),
        (Sweep, "controls", ["None"], None),
        (Sweep, "out", ["runs/3"], Path("runs/3")),
        (Sweep, "method", ["3"], "3"),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_settings_type(kind, name, texts, value):
    (field,) = (field for field in fields(kind) if field.name == name)
    assert value_of(field, texts) == value
    assert type(value_of(field, texts)) is type(value)
