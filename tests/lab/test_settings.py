"""Settings made in Python: values of the declared types, or one sentence."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args, get_origin

import numpy as np
import pytest
import torch

from torchmoments_lab import requests
from torchmoments_lab.requests import Compare
from torchmoments_lab.resolve import shared_settings
from torchmoments_lab.settings import (
    DataSettings,
    Execution,
    Judging,
    ModelSettings,
    Parallel,
    PlannedRuns,
    Preprocessing,
    RunSettings,
    TrainingSettings,
    parallel,
)
from torchmoments_lab.typed import counted

GROUPS = [
    DataSettings,
    ModelSettings,
    Preprocessing,
    TrainingSettings,
    Judging,
    RunSettings,
    PlannedRuns,
    Parallel,
    Execution,
]
COMMANDS = [requests.Compare, requests.Sweep, requests.Probe, requests.Inspect, requests.Train, requests.Places]
ALL = [*GROUPS, *COMMANDS, requests.Report]
FIELDS = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}")
    for kind in ALL
    for field in fields(kind)
    if field.type not in GROUPS
]
WRONG = {
    bool: ["False", 0, 1.0, None],
    int: ["3", 3.0, True, np.float64(3), [3]],
    float: ["0.1", True, [0.1]],
    str: [3, True, ("digits",), b"digits", Path("digits"), torch.device("cpu")],
    Path: [3, True, ["out"], b"out"],
    tuple: ["none", 3, [{}], ("none", 3), [("none",)], {"none": 1}, np.array(["none"])],
}


def kind_of(field):
    """The first type that a field declares, without the None it may take too; a Literal is a string."""
    if get_origin(field.type) is tuple:
        return tuple
    kind = next(k for k in get_args(field.type) if k is not type(None)) if get_args(field.type) else field.type
    return get_origin(kind) if get_origin(kind) is tuple else kind if isinstance(kind, type) else str


def made(kind, **values):
    return kind(**({"out": "folder"} if kind is requests.Report else {}) | values)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_setting(kind, field):
    for wrong in WRONG[kind_of(field)]:
        if type(wrong) in get_args(field.type) and get_origin(field.type) is not tuple:
            continue
        if type(wrong) is list and type(wrong[0]) in get_args(field.type):
            continue
        with pytest.raises(ValueError, match=rf"^{field.name} needs .*; got .*\."):
            made(kind, **{field.name: wrong})


@pytest.mark.parametrize("kind", ALL)
def test_every_default_has_the_type_that_it_declares(kind):
    plain = made(kind)
    assert all(getattr(plain, f.name) == f.default for f in fields(kind) if f.default is not MISSING)


def test_what_means_the_same_becomes_what_is_declared():
    config = Compare().with_values(
        seeds=np.int64(3),
        epochs=torch.tensor(4),
        lr=np.float32(0.5),
        weight_decay=0,
        augment=np.bool_(True),
        methods=["none", np.str_("moex")],
        out="runs/x",
        data_dir="here",
        schedule=np.str_("step"),
    )
    found = config.values()
    values = [found[name] for name in ("seeds", "epochs", "lr", "weight_decay", "augment", "methods", "out")]
    assert values == [3, 4, 0.5, 0.0, True, ("none", "moex"), Path("runs/x")]
    assert [type(value) for value in values] == [int, int, float, float, bool, tuple, type(Path())]
    assert config.data.data_dir == Path("here")
    shared = shared_settings(config.data, config.model, config.training, config.judging)
    assert json.loads(json.dumps(shared)) == shared


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"seeds": 3.0}, "seeds needs a whole number; got 3.0, of type float. Write seeds=3, for example."),
        ({"seeds": [3]}, "seeds needs a whole number; got [3], of type list. Write seeds=20, for example."),
        ({"batch_size": "3"}, "batch_size needs a whole number; got '3', of type str. Write batch_size=50, for"),
        ({"workers": 1.5}, "workers needs a whole number; got 1.5, of type float. Write workers=1, for example."),
        ({"augment": "False"}, "augment needs True or False; got 'False', of type str. Write augment=False"),
        ({"methods": "moex"}, "needs a list or tuple of strings; got 'moex', of type str. Write methods=('moex',)."),
        ({"out": 3}, "out needs a path; got 3, of type int. Write out='runs/compare', for example."),
        ({"metric": "accuracy"}, "average-precision, log-loss, calibration; got 'accuracy'."),
        ({"metric": 3}, "average-precision, log-loss, calibration; got 3."),
    ],
)
def test_the_sentence_says_what_came_and_what_to_write(values, sentence):
    with pytest.raises(ValueError) as refused:
        Compare().with_values(**values)
    assert sentence in str(refused.value)


def test_a_setting_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="compare has no setting 'epoch'. Nearest: 'epochs'"):
        Compare().with_values(epoch=3)


def test_other_values_reach_the_groups_and_leave_the_rest():
    changed = Compare().with_values(lr=0.5, seeds=3, metric="auroc")
    assert (changed.training.lr, changed.runs.seeds, changed.judging.metric) == (0.5, 3, "auroc")
    assert changed.values() == Compare().values() | {"lr": 0.5, "seeds": 3, "metric": "auroc"}


@pytest.mark.parametrize(
    ("runs", "plan"),
    [
        ({}, (20,)),
        ({"seeds": 3}, (3,)),
        ({"seeds": "3"}, (3,)),
        ({"seeds": "10..40"}, (10, 20, 40)),
        ({"seeds": "10..50"}, (10, 20, 40, 50)),
        ({"seeds": "3..4"}, (3, 4)),
        ({"seeds": "10..40", "looks": (10, 25, 40)}, (10, 25, 40)),
        ({"seeds": "10..40", "looks": [15]}, (15, 40)),
    ],
)
def test_a_range_of_seeds_is_looked_at_after_each_doubling_or_where_one_says(runs, plan):
    asked = PlannedRuns(**runs)
    asked.check()
    assert asked.plan() == plan


@pytest.mark.parametrize("seeds", ["ten", "", "10..", "..40", "40..10", "10..10", "2..4", "10...40", "3..6..12", "3.5"])
def test_a_range_of_seeds_that_is_none_is_refused(seeds):
    with pytest.raises(ValueError, match=r"seeds needs a number, or a range from 3 or more upwards; got .*10\.\.40\.$"):
        PlannedRuns(seeds=seeds).check()


@pytest.mark.parametrize("looks", [(20, 10), (10, 10), (5, 40), (10, 80), (0,)])
def test_looks_that_do_not_rise_or_are_beyond_the_range_are_refused(looks):
    got = " ".join(map(str, looks))
    with pytest.raises(ValueError, match=rf"rising numbers from 10 to 40; got {got}\. Write --looks 10 20 40\.$"):
        PlannedRuns(seeds="10..40", looks=looks).check()


def test_looks_without_a_range_are_refused():
    with pytest.raises(ValueError, match=r"looks needs a range of seeds; got --seeds 20\. Write --seeds 10\.\.40, or"):
        PlannedRuns(looks=(10,)).check()


@pytest.mark.parametrize("points", [0.0, -0.3, float("nan"), float("inf")])
def test_a_margin_that_is_no_size_is_refused(points):
    with pytest.raises(
        ValueError, match=rf"stop_at needs points above 0, up to 100; got {points}\. Write --stop-at 0.3"
    ):
        PlannedRuns(stop_at=points).check()


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (1, ("epoch",), "1 epoch"),
        (0, ("epoch",), "0 epochs"),
        (1200, ("test image",), "1,200 test images"),
        (0.3, ("point",), "0.3 points"),
        (2, ("class", "classes"), "2 classes"),
        (1, ("class", "classes"), "1 class"),
    ],
)
def test_one_of_a_thing_is_not_written_as_several(number, what, said):
    assert counted(number, *what) == said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"workers": 0}, "workers needs at least 1 worker; got 0."),
        ({"gpus_per_run": 0.5}, "gpus_per_run needs a cluster; got no --ray. Write --ray auto, or leave it out."),
        ({"ray": "auto", "gpus_per_run": 1.5}, "gpus_per_run needs a number above 0, up to 1; got 1.5. Write"),
        ({"ray": "auto", "gpus_per_run": 0}, "gpus_per_run needs a number above 0, up to 1; got 0. Write"),
        ({"ray": " "}, "ray needs the address of a cluster; got an empty one."),
        ({"ray": "ray://10.0.0.1:10001"}, "ray needs HOST:PORT of a cluster that this machine belongs to; got ray://"),
        ({"ray": "auto", "workers": 2}, "workers are processes of this machine; got 2 and a cluster, which trains"),
    ],
)
def test_a_cluster_and_processes_of_this_machine_are_not_mixed_up(values, sentence):
    with pytest.raises(ValueError) as refused:
        Compare().with_values(**values).check()
    assert str(refused.value).startswith(sentence)


def test_a_cluster_needs_ray(monkeypatch):
    monkeypatch.setattr(parallel, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Install it with: pip install 'torchmoments\[ray\]'"):
        Parallel(ray="auto").check()
